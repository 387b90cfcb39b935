import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Leases } from '../core/ports/locker.ts'
import type { Cleanup } from '../http/operations.ts'
import type { Uploads } from '../uploads/use-cases.ts'

/** how long an expired lease is left to those who may still believe in it */
const SWEEP_AFTER_MS = 60_000
/** how long a shutdown waits for work that no connection waits for */
export const CHORE_PATIENCE_MS = 2_000

export interface Chores {
  /** Reaps once what runs already is over. */
  cleanUp(): Promise<Cleanup>
  stop(): Promise<void>
}

interface ChoreParts {
  uploads: Uploads
  leases: Leases | null
  log: Logger
  /** about: processes that were started together shall not keep step */
  reapIntervalMs: number
}

/** What is done beside requests: finishing what a crash left, and reaping, one run at a time. */
export function startChores({ uploads, leases, log, reapIntervalMs }: ChoreParts): Chores {
  const stopping = new AbortController()
  const reap = async (): Promise<Cleanup> => {
    let failedUploads = 0
    const reaped = await uploads.reap((error, id) => {
      failedUploads += 1
      log.error({ err: error, upload_id: id }, 'an expired upload could not be removed')
    }, stopping.signal)
    if (reaped.expiredUploads + reaped.removedUploads > 0) log.info(reaped, 'reaped')
    return { ...reaped, failedUploads, forgottenKeys: await uploads.forgetKeys(stopping.signal) }
  }
  let reaping: Promise<unknown> = Promise.resolve()
  // Two at once would count the same upload twice.
  const cleanUp = (): Promise<Cleanup> => {
    const next = reaping.then(reap)
    reaping = next.catch(() => {})
    return next
  }
  const run = async (): Promise<void> => {
    try {
      await uploads.resumeFinalizing(
        (error, id) => log.error({ err: error, upload_id: id }, 'an upload could not be completed'),
        stopping.signal,
      )
      await cleanUp()
      await leases?.sweep({ ms: SWEEP_AFTER_MS })
    } catch (error) {
      log.error({ err: error }, 'the reaper could not run')
    }
  }
  let timer: NodeJS.Timeout | undefined
  const loop = async (): Promise<void> => {
    await run()
    if (stopping.signal.aborted) return
    timer = setTimeout(
      () => {
        running = loop()
      },
      reapIntervalMs * (0.75 + Math.random() / 2),
    )
  }
  let running = loop()
  return {
    cleanUp,
    async stop() {
      clearTimeout(timer)
      stopping.abort()
      // What is being copied goes on after the next start as well.
      const over = Promise.all([running, reaping])
      await Promise.race([over, sleep(CHORE_PATIENCE_MS, undefined, { ref: false })])
    },
  }
}

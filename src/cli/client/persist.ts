import { setTimeout as sleep } from 'node:timers/promises'
import { Failure } from '../failure.ts'

export interface Persistence {
  /** without a byte getting through for so long, it is given up */
  patienceMs: number
  signal: AbortSignal
  /** before each wait */
  onWait: (error: Error, waitMs: number) => void
  random?: () => number
}

const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 30_000

/**
 * Does something until it succeeds, with longer and longer pauses, or as long as the server asks for.
 * @param progress what grows while something gets through; a failure behind that counts as a first one
 * @throws what failed last, when it can't succeed later or time is up
 */
export async function persist<T>(
  { patienceMs, signal, onWait, random = Math.random }: Persistence,
  work: () => Promise<T>,
  progress: () => number = () => 0,
): Promise<T> {
  let failures = 0
  let reached = progress()
  let since = performance.now()
  for (;;) {
    try {
      signal.throwIfAborted()
      return await work()
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof Error) || !mayTryAgain(error)) throw error
      if (progress() > reached) {
        failures = 0
        reached = progress()
        since = performance.now()
      }
      const asked = error instanceof Failure ? error.retryAfterMs : null
      const waitMs = Math.max(asked ?? 0, backoff(failures, random()))
      if (performance.now() - since + waitMs > patienceMs) throw error
      failures += 1
      onWait(error, waitMs)
      await sleep(waitMs, undefined, { signal }).catch(() => signal.throwIfAborted())
    }
  }
}

/** Doubling, with jitter, so that many clients of one server don't come back all at once. */
const backoff = (failures: number, random: number): number =>
  Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** failures) * (0.5 + random / 2)

/** Names that will not resolve and certificates that don't hold are not a matter of time. */
const HOPELESS = /^(ERR_INVALID|ENOTFOUND|CERT_|DEPTH_ZERO|UNABLE_TO|ERR_TLS|ERR_SSL|SELF_SIGNED|EPROTO)/

function mayTryAgain(error: Error): boolean {
  if (error instanceof Failure) return error.retry
  const { code, syscall, path } = error as NodeJS.ErrnoException
  // Files have a path, connections have none.
  if (syscall !== undefined && path !== undefined) return false
  return !HOPELESS.test(code ?? '')
}

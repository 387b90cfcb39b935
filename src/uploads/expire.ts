import type { Deps } from './deps.ts'
import { erase } from './remove.ts'

/** How long an expired upload answers 410 before it is forgotten. */
const TOMBSTONE_MS = 7 * 24 * 3600 * 1000
const BATCH = 100

export interface Reaped {
  expiredUploads: number
  /** uploads whose rows and bytes are gone now */
  removedUploads: number
}

/**
 * Removes the bytes of unfinished uploads past their expiry, leaving tombstones, and cleans up what
 * deletions left behind. May be killed anywhere: the next run, of any process, goes on. A finished
 * upload never expires.
 * @param onError told of what could not be removed; the next run tries again
 * @param signal stops it between two uploads
 */
export const reap =
  (deps: Deps) =>
  async (
    onError: (error: unknown, id: string) => void,
    signal = new AbortController().signal,
  ): Promise<Reaped> => {
    const { ledger, locker, store, meter } = deps
    const reaped: Reaped = { expiredUploads: 0, removedUploads: 0 }
    const now = deps.now()

    await inBatches(
      async () => (await ledger.expired(now, BATCH)).map(({ id }) => id),
      async (id) => {
        // A slow body may be long in coming to the end of a cell; its bytes will count then.
        if (locker.busy(id) || !(await ledger.expire(id, now))) return false
        reaped.expiredUploads += 1
        meter.uploadExpired()
        return true
      },
    )
    await inBatches(
      async () => (await ledger.inStatus('EXPIRING', BATCH)).map(({ id }) => id),
      async (id) => {
        await locker.drain(id)
        await store.remove(id)
        return ledger.transition(id, 'ABORTED', now)
      },
    )
    await inBatches(
      () => ledger.leftovers(new Date(now.getTime() - TOMBSTONE_MS), BATCH),
      async (id) => {
        await erase(deps, id)
        reaped.removedUploads += 1
        return true
      },
    )
    return reaped

    /** Works through what `next` gives until there is no more, or until nothing of a batch could be done. */
    async function inBatches(
      next: () => Promise<string[]>,
      work: (id: string) => Promise<boolean>,
    ): Promise<void> {
      let done: number
      do {
        done = 0
        for (const id of await next()) {
          if (signal.aborted) return
          try {
            if (await work(id)) done += 1
          } catch (error) {
            onError(error, id)
          }
        }
      } while (done > 0)
    }
  }

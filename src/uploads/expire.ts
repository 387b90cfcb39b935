import type { Upload } from '../core/upload.ts'
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
 * deletions left behind. May stop anywhere and run again. A finished upload never expires.
 * @param onError told of what could not be removed; the next run tries again
 */
export const reap =
  (deps: Deps) =>
  async (onError: (error: unknown, id: string) => void): Promise<Reaped> => {
    const reaped: Reaped = { expiredUploads: 0, removedUploads: 0 }
    const now = deps.now()
    const attempt = async (id: string, work: () => Promise<void>) => {
      try {
        await work()
      } catch (error) {
        onError(error, id)
      }
    }
    let batch: Upload[]
    let progress: number
    do {
      batch = await deps.ledger.expired(now, BATCH)
      progress = 0
      for (const { id } of batch)
        await attempt(id, async () => {
          if (!(await deps.ledger.expire(id, now))) return
          progress += 1
          reaped.expiredUploads += 1
          deps.meter.uploadExpired()
          await deps.locker.drain(id)
          await deps.store.remove(id)
        })
    } while (batch.length === BATCH && progress > 0)

    for (const id of await deps.ledger.leftovers(new Date(now.getTime() - TOMBSTONE_MS), BATCH))
      await attempt(id, async () => {
        await erase(deps, id)
        reaped.removedUploads += 1
      })
    return reaped
  }

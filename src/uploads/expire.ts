import type { Upload } from '../core/upload.ts'
import { briefly, isLocked, type Deps } from './deps.ts'
import { erase } from './remove.ts'

/** How long an expired upload answers 410 before it is forgotten. */
const TOMBSTONE_MS = 7 * 24 * 3600 * 1000
const BATCH = 100

export interface Reaped {
  expiredUploads: number
  /** uploads whose rows are gone now */
  removedUploads: number
  /** uploads whose bytes are gone now, expired ones and deleted ones */
  removedObjects: number
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
    const reaped: Reaped = { expiredUploads: 0, removedUploads: 0, removedObjects: 0 }
    const now = deps.expiryNow()
    const tombstonesBefore = new Date(now.getTime() - TOMBSTONE_MS)

    await inBatches(
      () => ledger.expired(now, BATCH),
      async ({ id }) => {
        // A slow body may be long in coming to the end of a cell; its bytes will count then.
        if ((await locker.busy(id)) || !(await ledger.expire(id, now))) return false
        reaped.expiredUploads += 1
        meter.uploadExpired()
        return true
      },
    )
    await inBatches(
      () => ledger.inStatus('EXPIRING', BATCH),
      async (upload) => {
        await locker.drain(upload.id)
        await store.remove(upload)
        if (!(await ledger.transition(upload.id, 'ABORTED', now))) return false
        reaped.removedObjects += 1
        return true
      },
    )
    await inBatches(
      () => ledger.leftovers(tombstonesBefore, BATCH),
      async (upload) => {
        await erase(deps, upload)
        reaped.removedUploads += 1
        // A tombstone has lost its bytes long ago.
        const isTombstone = upload.status === 'ABORTED' && upload.updatedAt < tombstonesBefore
        if (!isTombstone) reaped.removedObjects += 1
        return true
      },
    )
    return reaped

    /** @returns false when another process works on the upload */
    async function alone(upload: Upload, work: (upload: Upload) => Promise<boolean>): Promise<boolean> {
      const hold = await locker.acquire(upload.id, 'reap', briefly, false).catch(unlessLocked)
      if (!hold) return false
      try {
        return await work(upload)
      } finally {
        await hold.release()
      }
    }

    /** Works through what `next` gives until there is no more, or until nothing of a batch could be done. */
    async function inBatches(
      next: () => Promise<Upload[]>,
      work: (upload: Upload) => Promise<boolean>,
    ): Promise<void> {
      let done: number
      do {
        done = 0
        for (const upload of await next()) {
          if (signal.aborted) return
          try {
            if (await alone(upload, work)) done += 1
          } catch (error) {
            onError(error, upload.id)
          }
        }
      } while (done > 0)
    }
  }

function unlessLocked(error: unknown): null {
  if (isLocked(error)) return null
  throw error
}

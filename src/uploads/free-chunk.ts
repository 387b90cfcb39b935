import { HttpError } from '../core/errors.ts'
import { cellCount } from '../core/geometry.ts'
import { assertOpen } from '../core/upload.ts'
import { briefly, fencesOf, takenOver, type Deps } from './deps.ts'

/**
 * Gives up what is stored of one chunk of an unfinished upload, so that it can be sent again.
 * @throws {HttpError} bad_request 400, conflict 409, gone 410, not_found 404
 */
export const freeChunk =
  (deps: Deps) =>
  async (id: string, index: number): Promise<void> => {
    const upload = await deps.ledger.get(id)
    if (!upload) throw new HttpError('not_found')
    assertOpen(upload, deps.expiryNow())
    const count = cellCount(upload)
    if (count !== null && index >= count)
      throw new HttpError('bad_request', { detail: `chunk_index: the upload has ${count} chunks, from 0.` })
    const hold = await deps.locker.acquire(id, index, briefly, true)
    try {
      const freed = await deps.ledger.cell(id, index)
      if (await deps.ledger.freeCell(id, index, deps.now(), fencesOf([hold]))) {
        if (freed?.ref) deps.store.discard?.(upload, [freed.ref])
        return
      }
    } finally {
      await hold.release()
    }
    const now = await deps.ledger.get(id)
    if (!now) throw new HttpError('not_found')
    assertOpen(now, deps.expiryNow())
    throw takenOver()
  }

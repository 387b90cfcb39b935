import { HttpError } from '../core/errors.ts'
import { cellCount } from '../core/geometry.ts'
import type { Holder } from '../core/ports.ts'
import { assertOpen } from '../core/upload.ts'
import type { Deps } from './deps.ts'

/** Holds a cell for the moment of a ledger update: neither idle nor to be moved. */
const briefly: Holder = { idle: () => false, yield: () => {} }

/**
 * Gives up what is stored of one chunk of an unfinished upload, so that it can be sent again.
 * @throws {HttpError} bad_request 400, conflict 409, gone 410, not_found 404
 */
export const freeChunk =
  (deps: Deps) =>
  async (id: string, index: number): Promise<void> => {
    const upload = await deps.ledger.get(id)
    if (!upload) throw new HttpError('not_found')
    assertOpen(upload, deps.now())
    const count = cellCount(upload)
    if (count !== null && index >= count)
      throw new HttpError('bad_request', { detail: `chunk_index: the upload has ${count} chunks, from 0.` })
    const release = await deps.locker.acquire(id, index, briefly, true)
    try {
      if (await deps.ledger.freeCell(id, index, deps.now())) return
    } finally {
      release()
    }
    const now = await deps.ledger.get(id)
    if (!now) throw new HttpError('not_found')
    assertOpen(now, deps.now())
  }

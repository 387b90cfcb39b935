import { HttpError } from '../core/errors.ts'
import type { Commit } from '../core/ports.ts'
import { assertOpen, type Upload } from '../core/upload.ts'
import { expiryFrom, statusWhenFull, type WriteDeps } from './deps.ts'

/**
 * Makes written bytes count, and finishes the upload when they were the last.
 * @param fills whether the upload is to complete once all its cells are whole
 * @returns the upload as it is after it
 * @throws {HttpError} not_found 404, gone 410 or conflict 409 when the bytes don't count
 */
export const commitCells =
  (deps: WriteDeps) =>
  async (
    upload: Upload,
    {
      cells,
      appendOffset = null,
      fills,
    }: Pick<Commit, 'cells'> & { appendOffset?: number | null; fills: boolean },
  ): Promise<Upload> => {
    const { ledger, meter } = deps
    const now = deps.now()
    const started = performance.now()
    const committed = await ledger.commit({
      id: upload.id,
      cells,
      appendOffset,
      at: now,
      expiresAt: expiryFrom(now, deps),
      whenFull: fills ? statusWhenFull(deps, upload) : null,
    })
    meter.ledgerUpdate((performance.now() - started) / 1000)
    if (!committed.ok) {
      if (!committed.upload) throw new HttpError('not_found')
      assertOpen(committed.upload, now)
      throw new HttpError('conflict', { detail: 'The bytes were stored by another request meanwhile.' })
    }
    for (const cell of cells) {
      meter.bytesStored(cell.to - cell.from, upload.dialect)
      if (cell.whole) meter.chunkStored(upload.dialect)
    }
    if (committed.reached === 'COMPLETED') meter.uploadCompleted(upload.dialect)
    return committed.reached === 'FINALIZING' ? deps.finish(upload.id) : committed.upload
  }

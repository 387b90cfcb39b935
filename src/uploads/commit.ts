import { HttpError } from '../core/errors.ts'
import type { CellCommit } from '../core/ports/ledger.ts'
import type { Hold } from '../core/ports/locker.ts'
import { assertOpen, type Upload } from '../core/upload.ts'
import { expiryFrom, fencesOf, statusWhenFull, takenOver, type WriteDeps } from './deps.ts'

interface Committing {
  cells: CellCommit[]
  /** what the bytes were written under */
  holds: readonly Hold[]
  /** what the store kept of the cells before */
  superseded: readonly string[]
  appendOffset?: number | null
  /** whether the upload is to complete once all its cells are whole */
  fills: boolean
}

/**
 * Makes written bytes count, and finishes the upload when they were the last.
 * @returns the upload as it is after it
 * @throws {HttpError} not_found 404, gone 410, conflict 409 or payload_too_large 413 when the bytes don't count
 */
export const commitCells =
  (deps: WriteDeps) =>
  async (
    upload: Upload,
    { cells, holds, superseded, appendOffset = null, fills }: Committing,
  ): Promise<Upload> => {
    const { ledger, store, meter } = deps
    const now = deps.now()
    const started = performance.now()
    const committed = await ledger.commit({
      id: upload.id,
      cells,
      fences: fencesOf(holds),
      appendOffset,
      at: now,
      expiresAt: expiryFrom(now, deps),
      whenFull: fills ? statusWhenFull(deps, upload) : null,
    })
    meter.ledgerUpdate((performance.now() - started) / 1000)
    if (!committed.ok) {
      store.discard?.(upload, refsOf(cells))
      if (committed.refusal) throw committed.refusal
      if (!committed.upload) throw new HttpError('not_found')
      assertOpen(committed.upload, deps.expiryNow())
      if (!holds.every((hold) => hold.held())) throw takenOver()
      throw new HttpError('conflict', { detail: 'The bytes were stored by another request meanwhile.' })
    }
    for (const cell of cells) {
      meter.bytesStored(cell.to - cell.from, upload.dialect)
      if (cell.whole) meter.chunkStored(upload.dialect)
    }
    if (superseded.length > 0) store.discard?.(upload, superseded)
    if (committed.reached === 'COMPLETED') meter.uploadCompleted(upload.dialect)
    return committed.reached === 'FINALIZING' ? deps.finish(upload.id) : committed.upload
  }

const refsOf = (cells: readonly CellCommit[]): string[] => cells.flatMap(({ ref }) => ref ?? [])

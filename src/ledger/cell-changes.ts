import { isFull } from '../core/geometry.ts'
import type { Commit, Committed } from '../core/ports/ledger.ts'
import { isOpen, type Upload } from '../core/upload.ts'
import { Prisma } from '../generated/sqlite/client.ts'
import { CELL_COLUMNS, toCell, type CellRow } from './rows.ts'
import type { Client } from './statements.ts'

/** What the column takes: no upload has as many cells. */
const MOST_CELLS = 2 ** 31 - 1

export const isCellIndex = (index: number): boolean => index <= MOST_CELLS

/** @param upload held by the transaction, as is every cell of it */
export async function declareSize(
  tx: Client,
  upload: Upload | null,
  size: number,
  at: Date,
  whenFull: Commit['whenFull'],
): Promise<Committed> {
  if (!upload || upload.size !== null || !isOpen(upload.status)) return { ok: false, upload }
  const rows = await tx.$queryRaw<CellRow[]>`
    SELECT ${CELL_COLUMNS} FROM chunks WHERE upload_id = ${upload.id} ORDER BY chunk_index DESC LIMIT 1`
  const last = rows[0] && toCell(rows[0])
  const committedEnd = last ? last.index * upload.chunkSize + last.bytes : 0
  if (committedEnd > size) return { ok: false, upload }

  // The file ends in this cell: what it has is all there will be.
  const completesLast = last !== undefined && !last.whole && committedEnd === size
  if (completesLast)
    await tx.$executeRaw`
      UPDATE chunks SET status = 'UPLOADED' WHERE upload_id = ${upload.id} AND chunk_index = ${last.index}`
  const storedCells = upload.storedCells + (completesLast ? 1 : 0)
  const reached = isFull({ ...upload, size, storedCells }) ? whenFull : null
  const declared: Upload = { ...upload, size, storedCells, status: reached ?? upload.status, updatedAt: at }
  await tx.$executeRaw`
    UPDATE uploads SET
      file_size = ${size}, stored_chunks = ${storedCells}, status = ${declared.status}, updated_at = ${at}
    WHERE id = ${upload.id}`
  return { ok: true, upload: declared, reached }
}

/** @param upload held by the transaction, as is every cell of it */
export async function freeCell(tx: Client, upload: Upload | null, index: number, at: Date): Promise<boolean> {
  if (!upload || !isOpen(upload.status)) return false
  if (!isCellIndex(index)) return true
  const freed = await tx.$queryRaw<CellRow[]>`
    DELETE FROM chunks WHERE upload_id = ${upload.id} AND chunk_index = ${index} RETURNING ${CELL_COLUMNS}`
  if (!freed[0]) return true

  const storedCells = upload.storedCells - (toCell(freed[0]).whole ? 1 : 0)
  const offset = Math.min(upload.offset, index * upload.chunkSize)
  const keepsPlace = upload.appendOffset !== null && upload.appendOffset <= offset
  await tx.$executeRaw`
    UPDATE uploads SET
      stored_chunks = ${storedCells}, "offset" = ${offset}, updated_at = ${at}
      ${keepsPlace ? Prisma.empty : Prisma.sql`, append_offset = NULL`}
    WHERE id = ${upload.id}`
  return true
}

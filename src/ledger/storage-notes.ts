import type { Cell } from '../core/upload.ts'
import { CELL_COLUMNS, toCell, type CellRow } from './rows.ts'
import type { Client } from './statements.ts'

/** Every cell with committed bytes, ascending. */
export async function cells(db: Client, id: string): Promise<Cell[]> {
  const rows = await db.$queryRaw<CellRow[]>`
    SELECT ${CELL_COLUMNS} FROM chunks WHERE upload_id = ${id} ORDER BY chunk_index`
  return rows.map(toCell)
}

/** Compare-and-set: the first name stays. */
export async function claimStorageId(db: Client, id: string, storageId: string): Promise<string | null> {
  const rows = await db.$queryRaw<{ storage_id: string }[]>`
    UPDATE uploads SET storage_id = COALESCE(storage_id, ${storageId})
    WHERE id = ${id} AND status IN ('INITIATED', 'IN_PROGRESS', 'FINALIZING') AND deleted_at IS NULL
    RETURNING storage_id`
  return rows[0]?.storage_id ?? null
}

export async function markStaged(db: Client, id: string): Promise<void> {
  await db.$executeRaw`UPDATE uploads SET staged = ${true} WHERE id = ${id}`
}

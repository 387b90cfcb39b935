import type { Cell, Dialect, Status, Upload } from '../core/upload.ts'
import { Prisma } from '../generated/sqlite/client.ts'

/** A row of `uploads` as raw SQL gives it. */
export interface UploadRow {
  id: string
  owner_id: string
  dialect: Dialect
  file_name: string
  file_size: number | null
  chunk_size: number
  status: Status
  content_type: string | null
  metadata: Record<string, unknown>
  concat: string | null
  checksum_sha256: string | null
  offset: number
  append_offset: number | null
  stored_chunks: number
  storage_id: string | null
  staged: boolean | number
  created_at: Date
  updated_at: Date
  expires_at: Date
}

const UPLOAD_COLUMN_NAMES = (
  'id owner_id dialect file_name file_size chunk_size status content_type metadata concat checksum_sha256 ' +
  'offset append_offset stored_chunks storage_id staged created_at updated_at expires_at'
).split(' ')

/** The columns of an UploadRow; the table is called `u`. */
export const UPLOAD_COLUMNS = Prisma.raw(UPLOAD_COLUMN_NAMES.map((name) => `u."${name}"`).join(', '))

/** The same, behind RETURNING, where SQLite knows no other name of the table. */
export const RETURNED_COLUMNS = Prisma.raw(UPLOAD_COLUMN_NAMES.map((name) => `"${name}"`).join(', '))

/** Every cell of `u` is whole. */
export const IS_FULL = Prisma.sql`
  file_size IS NOT NULL AND stored_chunks = (file_size + chunk_size - 1) / chunk_size`

export const toUpload = (row: UploadRow): Upload => ({
  id: row.id,
  ownerId: row.owner_id,
  dialect: row.dialect,
  fileName: row.file_name,
  size: row.file_size,
  chunkSize: row.chunk_size,
  status: row.status,
  contentType: row.content_type,
  metadata: row.metadata,
  concat: row.concat,
  checksumSha256: row.checksum_sha256,
  offset: row.offset,
  appendOffset: row.append_offset,
  storedCells: row.stored_chunks,
  storageId: row.storage_id,
  staged: Boolean(row.staged),
  createdAt: row.created_at,
  updatedAt: row.updated_at,
  expiresAt: row.expires_at,
})

/** A row of `chunks` as raw SQL gives it. */
export interface CellRow {
  chunk_index: number
  size: number
  status: string
  storage_ref: string | null
  checksum_sha256: string | null
}

export const CELL_COLUMNS = Prisma.sql`chunk_index, size, status, storage_ref, checksum_sha256`

export const toCell = (row: CellRow): Cell => ({
  index: row.chunk_index,
  bytes: row.size,
  whole: row.status === 'UPLOADED',
  ref: row.storage_ref,
  sha256: row.checksum_sha256,
})

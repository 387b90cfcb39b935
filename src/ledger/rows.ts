import type { Dialect, Status, Upload } from '../core/upload.ts'
import { Prisma } from '../generated/sqlite/client.ts'

/** A row of `uploads` as raw SQL gives it. */
export interface UploadRow {
  id: string
  owner_id: string
  dialect: Dialect
  file_name: string
  file_size: bigint | null
  chunk_size: bigint
  status: Status
  content_type: string | null
  metadata: Record<string, unknown>
  concat: string | null
  checksum_sha256: string | null
  offset: bigint
  append_offset: bigint | null
  stored_chunks: number
  created_at: Date
  updated_at: Date
  expires_at: Date
}

/** The columns of an UploadRow; the table is called `u`. */
export const UPLOAD_COLUMNS = Prisma.sql`
  u.id, u.owner_id, u.dialect, u.file_name, u.file_size, u.chunk_size, u.status, u.content_type,
  u.metadata, u.concat, u.checksum_sha256, u."offset", u.append_offset, u.stored_chunks,
  u.created_at, u.updated_at, u.expires_at`

/** Every cell of `u` is whole. */
export const IS_FULL = Prisma.sql`
  file_size IS NOT NULL AND stored_chunks = (file_size + chunk_size - 1) / chunk_size`

export const toUpload = (row: UploadRow): Upload => ({
  id: row.id,
  ownerId: row.owner_id,
  dialect: row.dialect,
  fileName: row.file_name,
  size: toNumber(row.file_size),
  chunkSize: Number(row.chunk_size),
  status: row.status,
  contentType: row.content_type,
  metadata: row.metadata,
  concat: row.concat,
  checksumSha256: row.checksum_sha256,
  offset: Number(row.offset),
  appendOffset: toNumber(row.append_offset),
  storedCells: row.stored_chunks,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
  expiresAt: row.expires_at,
})

const toNumber = (value: bigint | null): number | null => (value === null ? null : Number(value))

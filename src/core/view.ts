import { cellCount } from './geometry.ts'
import { publicStatus, type Upload } from './upload.ts'

/** An upload as clients see it. */
export const view = (upload: Upload) => ({
  upload_id: upload.id,
  file_name: upload.fileName,
  file_size: upload.size,
  chunk_size: upload.chunkSize,
  total_chunks: cellCount(upload),
  uploaded_chunks: upload.storedCells,
  offset: upload.offset,
  status: publicStatus(upload.status),
  content_type: upload.contentType,
  metadata: upload.metadata,
  file_checksum_sha256: upload.checksumSha256,
  created_at: upload.createdAt.toISOString(),
  updated_at: upload.updatedAt.toISOString(),
  expires_at: upload.status === 'COMPLETED' ? null : upload.expiresAt.toISOString(),
})

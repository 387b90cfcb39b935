import { z } from 'zod'
import { STATUSES } from '../core/upload.ts'

/** What the native API takes and gives, as it is parsed and as it is described. */

const METADATA_BYTES = 4096

export const bytes = z.number().int().nonnegative()
/** Text that every database stores as it is. */
const text = z
  .string()
  .refine((value) => value.isWellFormed() && !value.includes('\0'), 'must be well-formed, without NUL')

/** Metadata comes out of a parser, but it may be nested deeper than what writes it out again can go. */
function isStorable(metadata: unknown): boolean {
  try {
    const written = JSON.stringify(metadata)
    // A backslash of the text itself is written as two.
    const escapes = written.replaceAll('\\\\', '')
    return Buffer.byteLength(written) <= METADATA_BYTES && !/\\u(0000|d[89a-f])/i.test(escapes)
  } catch {
    return false
  }
}

export const initRequest = z
  .object({
    file_name: text.min(1).max(1024),
    file_size: bytes.describe('Bytes of the whole file, up to `MAX_UPLOAD_BYTES`. May be 0.'),
    chunk_size: bytes
      .positive()
      .nullish()
      .describe('Bytes of every chunk but the last. The server chooses where none is asked for.'),
    file_checksum_sha256: z
      .string()
      .regex(/^[0-9a-fA-F]{64}$/, 'must be 64 hexadecimal digits')
      .nullish()
      .describe('Checked when the upload is completed.'),
    content_type: text.max(255).nullish().describe('What the download is served as.'),
    metadata: z
      .record(z.string(), z.unknown())
      .refine(isStorable, 'must be 4 KiB of well-formed text at most, without NUL')
      .nullish()
      .describe('Anything of the client’s own: 4 KiB of JSON at most.'),
  })
  .meta({ id: 'InitRequest', description: 'A file that is to be uploaded.' })

/** The statuses that clients see. */
export const publicStatuses = z
  .enum(STATUSES)
  .exclude(['FINALIZING', 'EXPIRING'])
  .describe('`COMPLETED`, `FAILED` and `ABORTED` are final.')

const LIMIT = 'must be a whole number from 1 to 1000'

export const listRequest = z.object({
  status: publicStatuses.optional(),
  limit: z
    .preprocess(
      (value) => (typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value),
      z.number(LIMIT).int(LIMIT).min(1, LIMIT).max(1000, LIMIT).default(50),
    )
    .describe('How many uploads a page has at most.'),
  cursor: z.string().max(512).optional().describe('`next_cursor` of the page before.'),
})

export const uploadId = z.uuid()
const chunkSize = bytes.positive().describe('Bytes of every chunk but the last. This is the one that counts.')
const totalChunks = bytes.describe('⌈file_size ÷ chunk_size⌉')
export const chunkIndex = bytes.describe('Counted from 0.')

export const initAnswer = z
  .object({
    upload_id: uploadId,
    chunk_size: chunkSize,
    total_chunks: totalChunks,
    status: z.literal('INITIATED'),
  })
  .meta({ id: 'InitAnswer', description: 'An upload that was created.' })

export const chunkAnswer = z
  .object({ upload_id: uploadId, chunk_index: chunkIndex, status: z.literal('UPLOADED') })
  .meta({ id: 'ChunkAnswer', description: 'A chunk that is stored.' })

export const missingChunksAnswer = z
  .object({
    upload_id: uploadId,
    missing_chunk_indexes: z.array(chunkIndex).describe('In order; empty when nothing is missing.'),
    status: publicStatuses,
  })
  .meta({ id: 'MissingChunks', description: 'What has yet to be sent.' })

export const completeAnswer = z
  .object({ upload_id: uploadId, status: z.literal('COMPLETED') })
  .meta({ id: 'CompleteAnswer', description: 'An upload that is complete.' })

export const uploadView = z
  .object({
    upload_id: uploadId,
    file_name: z.string(),
    file_size: bytes.nullable().describe('null while tus has not declared it.'),
    chunk_size: chunkSize,
    total_chunks: totalChunks.nullable().describe('null while the size is.'),
    uploaded_chunks: bytes.describe('Whole chunks that are stored.'),
    offset: bytes.describe('How far the file reaches without a gap: the offset of tus.'),
    status: publicStatuses,
    content_type: z.string().nullable(),
    metadata: z.record(z.string(), z.unknown()),
    file_checksum_sha256: z.string().nullable(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
    expires_at: z.iso
      .datetime()
      .nullable()
      .describe('When the upload is given up unless bytes come; null once it is complete.'),
  })
  .meta({ id: 'Upload', description: 'An upload as its owner sees it.' })

export const listAnswer = z
  .object({
    uploads: z.array(uploadView).describe('The caller’s own, newest first.'),
    next_cursor: z.string().nullable().describe('null on the last page.'),
  })
  .meta({ id: 'UploadPage', description: 'A page of uploads.' })

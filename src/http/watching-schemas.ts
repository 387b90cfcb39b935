import { z } from 'zod'
import { bytes, chunkIndex, uploadId, uploadView } from './native-schemas.ts'

/** What those are told who watch uploads, and what they are held to. */

const count = z.number().int().nonnegative()

export const uploadProgress = uploadView
  .extend({
    received_bytes: bytes.describe('Bytes that count.'),
    received_chunks: z
      .array(z.tuple([chunkIndex, chunkIndex]))
      .describe('Whole chunks: `[first, last]` of each run without a gap.'),
    bytes_per_second: bytes.describe('An average of the last five seconds; 0 where nothing comes.'),
  })
  .meta({ id: 'UploadProgress', description: 'An upload, and how it gets on.' })

export const listReady = z
  .object({ has_more: z.boolean().describe('Whether there are older ones, which are not told of.') })
  .meta({ id: 'ListReady', description: 'All that was there has been told.' })

export const uploadGone = z
  .object({ upload_id: uploadId })
  .meta({ id: 'UploadGone', description: 'An upload of which no more is told.' })

export const loadView = z
  .object({
    inflight_chunks: count.describe('Bodies that are open.'),
    task_queue_depth: count.describe('Bodies and writes that wait.'),
    worker_busy_count: count.describe('Writes that run.'),
    worker_count: count.describe('Writes that may run at a time.'),
  })
  .meta({ id: 'Load', description: 'What the process that answers has to do at this moment.' })

export const limitsAnswer = z
  .object({
    user_id: z.string(),
    chunk_size_bytes: bytes,
    max_upload_bytes: bytes,
    max_bytes_per_user: bytes.nullable().describe('null for no limit.'),
    upload_ttl_seconds: z.number(),
    max_inflight_chunks_per_upload: count,
    max_global_inflight_chunks: count,
    task_queue_maxsize: count,
    load: loadView,
  })
  .meta({
    id: 'Limits',
    description: 'The limits that hold for the caller, by the names of their variables.',
  })

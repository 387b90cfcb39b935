import type { z } from 'zod'
import type { Handler } from './exchange.ts'
import type { limitsAnswer, loadView } from './watching-schemas.ts'

/** What the process holds its users to. */
export interface Limits {
  chunkSizeBytes: number
  maxUploadBytes: number
  /** 0 for no limit */
  maxBytesPerUser: number
  uploadTtlMs: number
  maxInflightChunksPerUpload: number
  maxGlobalInflightChunks: number
  taskQueueMaxsize: number
}

/** The gate's load. */
export interface Load {
  inflight: number
  queued: number
  busy: number
  workers: number
}

export const showLimits =
  (limits: Limits, load: () => Load): Handler =>
  ({ res, userId }) => {
    res.setHeader('Cache-Control', 'no-store')
    const answer: z.output<typeof limitsAnswer> = {
      user_id: userId,
      chunk_size_bytes: limits.chunkSizeBytes,
      max_upload_bytes: limits.maxUploadBytes,
      max_bytes_per_user: limits.maxBytesPerUser || null,
      upload_ttl_seconds: limits.uploadTtlMs / 1000,
      max_inflight_chunks_per_upload: limits.maxInflightChunksPerUpload,
      max_global_inflight_chunks: limits.maxGlobalInflightChunks,
      task_queue_maxsize: limits.taskQueueMaxsize,
      load: loadOf(load()),
    }
    res.json(answer)
  }

export const loadOf = ({ inflight, queued, busy, workers }: Load): z.output<typeof loadView> => ({
  inflight_chunks: inflight,
  task_queue_depth: queued,
  worker_busy_count: busy,
  worker_count: workers,
})

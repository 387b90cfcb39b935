/** An upload as the server tells it; what only its events tell is absent in a list. */
export interface Upload {
  upload_id: string
  file_name: string
  /** null while the length is deferred */
  file_size: number | null
  chunk_size: number
  total_chunks: number | null
  uploaded_chunks: number
  offset: number
  status: 'INITIATED' | 'IN_PROGRESS' | 'COMPLETED' | 'FAILED' | 'ABORTED'
  metadata: Record<string, unknown>
  created_at: string
  updated_at: string
  expires_at: string | null
  received_bytes?: number
  /** first and last index of whole chunks without a gap */
  received_chunks?: [number, number][]
  bytes_per_second?: number
}

export interface Load {
  inflight_chunks: number
  task_queue_depth: number
  worker_busy_count: number
  worker_count: number
}

export interface Limits {
  user_id: string
  chunk_size_bytes: number
  max_upload_bytes: number
  max_bytes_per_user: number | null
  upload_ttl_seconds: number
  max_inflight_chunks_per_upload: number
  max_global_inflight_chunks: number
  task_queue_maxsize: number
  load: Load
}

import { ApiError, type Api } from './api.ts'
import { putChunk } from './put-chunk.ts'
import { persistently } from './retry.ts'
import type { Upload } from './types.ts'

const PARALLEL = 4

export interface FileToSend {
  name: string
  type: string
  blob: Blob
  metadata: Record<string, string>
  /** the upload that an earlier try has begun; null for none */
  uploadId: string | null
}

export interface Sending {
  signal: AbortSignal
  /** told of the upload's id before any byte goes out, so that it can be found again */
  onUpload: (uploadId: string) => void
  onProgress: (bytes: number) => void
}

type Begun = Pick<Upload, 'upload_id' | 'chunk_size' | 'total_chunks' | 'status'>

/**
 * Sends a file in numbered chunks, several at a time, and completes it. What the server has already is not
 * sent again.
 * @returns the id of the upload
 * @throws when it is aborted, or fails for good
 */
export async function sendChunks(api: Api, file: FileToSend, sending: Sending): Promise<string> {
  const { signal } = sending
  const upload = (await find(api, file, signal)) ?? (await begin(api, file, signal))
  sending.onUpload(upload.upload_id)
  if (upload.status === 'COMPLETED') return upload.upload_id
  const path = `v1/uploads/${upload.upload_id}`
  const missing = await persistently(async () => {
    const answer = await api.send('GET', `${path}/missing-chunks`, { signal })
    return ((await answer.json()) as { missing_chunk_indexes: number[] }).missing_chunk_indexes
  }, signal)
  await sendMissing(api, file, upload, missing, sending)
  await persistently(() => api.send('POST', `${path}/complete`, { signal }), signal)
  return upload.upload_id
}

/** @returns null where there is none any more, or it is somebody else's or for another file */
async function find(api: Api, file: FileToSend, signal: AbortSignal): Promise<Begun | null> {
  if (file.uploadId === null) return null
  try {
    const answer = await persistently(
      () => api.send('GET', `v1/uploads/${file.uploadId}`, { signal }),
      signal,
    )
    const upload = (await answer.json()) as Upload
    const goesOn = upload.status !== 'FAILED' && upload.status !== 'ABORTED'
    return goesOn && upload.file_size === file.blob.size ? upload : null
  } catch (error) {
    if (error instanceof ApiError && [403, 404, 410].includes(error.status)) return null
    throw error
  }
}

async function begin(api: Api, file: FileToSend, signal: AbortSignal): Promise<Begun> {
  const { name, type, blob, metadata } = file
  const body = { file_name: name, file_size: blob.size, content_type: type || null, metadata }
  const answer = await persistently(() => api.send('POST', 'v1/uploads/init', { body, signal }), signal)
  return (await answer.json()) as Begun
}

async function sendMissing(
  api: Api,
  { blob }: FileToSend,
  { upload_id: id, chunk_size: chunkSize }: Begun,
  missing: readonly number[],
  { signal, onProgress }: Sending,
): Promise<void> {
  // One that fails for good stops the others.
  const failed = new AbortController()
  const either = AbortSignal.any([signal, failed.signal])
  const queue = [...missing]
  const blobOf = (index: number) => blob.slice(index * chunkSize, (index + 1) * chunkSize)
  let settled = blob.size - missing.reduce((sum, index) => sum + blobOf(index).size, 0)
  const underWay = new Map<number, number>()
  const tell = () => onProgress([...underWay.values()].reduce((sum, bytes) => sum + bytes, settled))

  const lane = async () => {
    for (let index = queue.shift(); index !== undefined; index = queue.shift()) {
      const at = index
      const chunk = blobOf(at)
      await persistently(() => {
        const sent = (bytes: number) => {
          underWay.set(at, Math.min(bytes, chunk.size))
          tell()
        }
        return putChunk(api, {
          path: `v1/uploads/${id}/chunks/${at}`,
          blob: chunk,
          signal: either,
          onProgress: sent,
        })
      }, either)
      underWay.delete(at)
      settled += chunk.size
      tell()
    }
  }
  tell()
  const lanes = Array.from({ length: PARALLEL }, () =>
    lane().catch((error: unknown) => {
      failed.abort(error)
      throw error
    }),
  )
  await Promise.all(lanes)
}

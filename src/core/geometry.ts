import { HttpError } from './errors.ts'
import type { Upload } from './upload.ts'

/** S3's limit on the parts of a multipart upload, and so ours on cells. */
export const MAX_CELLS = 10_000
const MIB = 1024 * 1024

type Shape = Pick<Upload, 'size' | 'chunkSize'>

/** Cells of a file; null while its length is deferred. */
export function cellCount(shape: { size: number; chunkSize: number }): number
export function cellCount(shape: Shape): number | null
export function cellCount({ size, chunkSize }: Shape): number | null {
  return size === null ? null : Math.ceil(size / chunkSize)
}

/** The cell that holds the byte at `position`. */
export const cellAt = (position: number, { chunkSize }: Pick<Upload, 'chunkSize'>): number =>
  Math.floor(position / chunkSize)

/** The bytes of cell `index`: `start` counts, `end` doesn't. An undeclared length ends no cell early. */
export function cellRange(index: number, { size, chunkSize }: Shape): { start: number; end: number } {
  const start = index * chunkSize
  return { start, end: Math.min(start + chunkSize, size ?? Number.MAX_SAFE_INTEGER) }
}

/** Whether every byte of the file is committed. */
export const isFull = (upload: Pick<Upload, 'size' | 'chunkSize' | 'storedCells'>): boolean =>
  upload.size !== null && upload.storedCells === cellCount(upload)

export interface GeometryLimits {
  /** the cell size when a client asks for none */
  chunkSizeBytes: number
  /** the longest file, and what a deferred length is planned for */
  maxUploadBytes: number
  /** the longest cell that the store takes; absent where there is no limit */
  maxChunkBytes?: number | undefined
}

/**
 * The cell size of a new upload. The default grows to a multiple of 1 MiB where MAX_CELLS of it
 * would not hold the file.
 * @throws {HttpError} unprocessable 422: the client's own chunk_size would need too many cells, or
 * longer ones than the store takes; payload_too_large 413: no size that the store takes would do
 */
export function planChunkSize(size: number | null, requested: number | null, limits: GeometryLimits): number {
  const { chunkSizeBytes, maxUploadBytes, maxChunkBytes = Number.POSITIVE_INFINITY } = limits
  const longest = size ?? maxUploadBytes
  if (requested !== null) {
    if (Math.ceil(longest / requested) > MAX_CELLS)
      throw new HttpError('unprocessable', {
        detail: `chunk_size: ${requested} makes more than ${MAX_CELLS} chunks.`,
      })
    // No cell is longer than the file.
    if (Math.min(requested, longest) > maxChunkBytes)
      throw new HttpError('unprocessable', {
        detail: `chunk_size: this server takes chunks of ${maxChunkBytes} bytes at most.`,
      })
    return requested
  }
  const least = Math.ceil(longest / MAX_CELLS)
  if (least <= chunkSizeBytes) return chunkSizeBytes
  if (least > maxChunkBytes)
    throw new HttpError('payload_too_large', {
      detail: `The file would need chunks of more than the ${maxChunkBytes} bytes that this server takes.`,
    })
  return Math.min(Math.ceil(least / MIB) * MIB, maxChunkBytes)
}

/** The indexes below `count` that are not in `stored` (ascending). */
export function missingCells(count: number, stored: readonly number[]): number[] {
  const missing: number[] = []
  let next = 0
  for (const index of stored) {
    while (next < index) missing.push(next++)
    next = index + 1
  }
  while (next < count) missing.push(next++)
  return missing
}

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
}

/**
 * The cell size of a new upload. The default grows to a multiple of 1 MiB where MAX_CELLS of it
 * would not hold the file.
 * @throws {HttpError} unprocessable 422: the client's own chunk_size would need too many cells
 */
export function planChunkSize(size: number | null, requested: number | null, limits: GeometryLimits): number {
  const longest = size ?? limits.maxUploadBytes
  if (requested !== null) {
    if (Math.ceil(longest / requested) > MAX_CELLS)
      throw new HttpError('unprocessable', {
        detail: `chunk_size: ${requested} makes more than ${MAX_CELLS} chunks.`,
      })
    return requested
  }
  const least = Math.ceil(longest / MAX_CELLS)
  return least <= limits.chunkSizeBytes ? limits.chunkSizeBytes : Math.ceil(least / MIB) * MIB
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

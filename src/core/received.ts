import { cellCount, cellRange } from './geometry.ts'
import type { Upload } from './upload.ts'

/** Whole cells without a gap between them; `first` and `last` both count. */
export type CellSpan = readonly [first: number, last: number]

/** @param stored indexes of whole cells, ascending */
export function spansOf(stored: readonly number[]): CellSpan[] {
  const spans: [number, number][] = []
  for (const index of stored) {
    const open = spans.at(-1)
    if (open && open[1] === index - 1) open[1] = index
    else spans.push([index, index])
  }
  return spans
}

/** The bytes that count: those of the whole cells, and those of the cell in which the prefix ends. */
export function receivedBytes(
  upload: Pick<Upload, 'size' | 'chunkSize' | 'offset'>,
  spans: readonly CellSpan[],
): number {
  const whole = spans.reduce(
    (sum, [first, last]) => sum + cellRange(last, upload).end - cellRange(first, upload).start,
    0,
  )
  const begun = upload.offset % upload.chunkSize
  // The prefix may end with a short last cell, which is whole.
  const isWhole = upload.size !== null && upload.offset === upload.size
  return isWhole ? whole : whole + begun
}

/** Every cell, of an upload that has them all. */
export function allCells(shape: { size: number; chunkSize: number }): CellSpan[] {
  const count = cellCount(shape)
  return count === 0 ? [] : [[0, count - 1]]
}

import type { Upload } from './types.ts'

/** Where single chunks would be narrower than this, a column of pixels stands for several. */
const LEAST_CELL_PX = 3
const GAP_PX = 1

/** How much of each of `columns` columns is there, from 0 to 1, when the chunks are spread over them. */
export function coverage(upload: Upload, columns: number): Float64Array {
  const filled = new Float64Array(columns)
  const total = totalOf(upload)
  if (total === 0) return filled
  const perChunk = columns / total
  const add = (from: number, to: number) => {
    for (let column = Math.floor(from); column < Math.min(Math.ceil(to), columns); column++) {
      const part = Math.min(to, column + 1) - Math.max(from, column)
      filled[column] = Math.min(1, (filled[column] ?? 0) + part)
    }
  }
  for (const [first, last] of upload.received_chunks ?? []) add(first * perChunk, (last + 1) * perChunk)
  const begun = begunChunk(upload)
  if (begun) add(begun.index * perChunk, (begun.index + begun.part) * perChunk)
  return filled
}

/** Draws which chunks are there: each by itself where there is room, else as a band. */
export function drawMap(canvas: HTMLCanvasElement, upload: Upload): void {
  const scale = window.devicePixelRatio || 1
  const width = Math.round(canvas.clientWidth * scale)
  const height = Math.round(canvas.clientHeight * scale)
  const context = canvas.getContext('2d')
  if (!context || width === 0 || height === 0) return
  if (canvas.width !== width) canvas.width = width
  if (canvas.height !== height) canvas.height = height
  const style = getComputedStyle(canvas)
  const total = totalOf(upload)
  const single = total > 0 && width / total >= LEAST_CELL_PX * scale
  const columns = single ? total : width
  const gap = single ? GAP_PX * scale : 0
  const filled = coverage(upload, columns)

  context.clearRect(0, 0, width, height)
  for (let column = 0; column < columns; column++) {
    const x = Math.round((column * width) / columns)
    const cellWidth = Math.max(1, Math.round(((column + 1) * width) / columns) - x - gap)
    const part = filled[column] ?? 0
    context.fillStyle = style.borderColor
    context.fillRect(x, 0, cellWidth, height)
    context.fillStyle = style.color
    if (single) context.fillRect(x, 0, cellWidth * part, height)
    else {
      context.globalAlpha = part
      context.fillRect(x, 0, cellWidth, height)
      context.globalAlpha = 1
    }
  }
}

/** The same in words. */
export function describeMap(upload: Upload): string {
  const total = upload.total_chunks
  return total === null
    ? `${upload.uploaded_chunks} chunks received`
    : `${upload.uploaded_chunks} of ${total} chunks received`
}

/** While the length is deferred, nobody knows the last chunk: up to the furthest that is there. */
const totalOf = (upload: Upload): number =>
  upload.total_chunks ??
  Math.max(upload.received_chunks?.at(-1)?.[1] ?? 0, begunChunk(upload)?.index ?? 0) + 1

/** The chunk in which the prefix ends, and how much of it is there. */
function begunChunk({ offset, chunk_size: chunkSize, file_size: size }: Upload) {
  const bytes = offset % chunkSize
  if (bytes === 0 || offset === size) return null
  const index = Math.floor(offset / chunkSize)
  const length = Math.min(chunkSize, (size ?? Number.POSITIVE_INFINITY) - index * chunkSize)
  return { index, part: bytes / length }
}

import type { ByteRange } from '../../core/range.ts'

/** An object, all of whose bytes are to be copied. */
export interface PackSource {
  key: string
  bytes: number
}

/** Bytes of one source, and where they go within their part. */
export interface PackedPiece {
  source: PackSource
  range: ByteRange
  at: number
}

export interface PackedPart {
  number: number
  bytes: number
  pieces: PackedPiece[]
}

/**
 * Cuts the sources, one behind the other, into parts that are all of one size but the last. S3 would
 * take parts of any size; R2 wants them equal.
 */
export function planPack(sources: readonly PackSource[], partBytes: number): PackedPart[] {
  const parts: PackedPart[] = []
  let part: PackedPart = { number: 0, bytes: partBytes, pieces: [] }
  for (const source of sources)
    for (let start = 0; start < source.bytes;) {
      if (part.bytes === partBytes) {
        part = { number: part.number + 1, bytes: 0, pieces: [] }
        parts.push(part)
      }
      const end = Math.min(source.bytes, start + partBytes - part.bytes)
      part.pieces.push({ source, range: { start, end }, at: part.bytes })
      part.bytes += end - start
      start = end
    }
  return parts
}

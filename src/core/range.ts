/** One range as a client asks for it: from `first` to `last` (which counts; null is the end), or the last `suffix` bytes. */
export type RangeSpec = { first: number; last: number | null } | { suffix: number }

/** The bytes from `start` up to but not including `end`. */
export interface ByteRange {
  start: number
  end: number
}

/** More ranges than this in one request are an attack or a mistake (RFC 9110 §17.15). */
export const MAX_RANGES = 32

/**
 * The ranges to send, in the order they were asked for and never empty ones: null means that the
 * whole file is the better answer (200), none that no byte of the file was asked for (416).
 * @param specs null when no range was asked for
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-14.1.2
 */
export function planRanges(specs: readonly RangeSpec[] | null, size: number): ByteRange[] | null {
  if (specs === null || specs.length > MAX_RANGES) return null
  const ranges = specs.map((spec) => clamp(spec, size)).filter(({ start, end }) => start < end)
  return isWasteful(ranges, size) ? null : ranges
}

function clamp(spec: RangeSpec, size: number): ByteRange {
  if ('suffix' in spec) return { start: Math.max(0, size - spec.suffix), end: size }
  return { start: spec.first, end: spec.last === null ? size : Math.min(spec.last + 1, size) }
}

/**
 * RFC 9110 §14.2 lets a server ignore more than two overlapping ranges. Ranges that add up to more
 * than the file cost more than the file, too.
 */
function isWasteful(ranges: readonly ByteRange[], size: number): boolean {
  let bytes = 0
  let overlaps = 0
  let reached = 0
  for (const { start, end } of ranges.toSorted((a, b) => a.start - b.start)) {
    if (start < reached) overlaps++
    bytes += end - start
    reached = Math.max(reached, end)
  }
  return overlaps > 1 || bytes > size
}

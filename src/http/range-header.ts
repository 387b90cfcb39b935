import parse from 'http-range-parse'
import type { RangeSpec } from '../core/range.ts'

/** int-range or suffix-range of RFC 9110 §14.1.1: digits only, and at least one of them. */
const RANGE_SPEC = /^(?:\d+-\d*|-\d+)$/

/**
 * A Range header as values; null when there is none that counts: RFC 9110 §14.2 has an invalid one
 * and other units ignored. A position past 2^53 is rounded, one past 1e308 is Infinity, never NaN.
 */
export function parseRange(header: string | undefined): RangeSpec[] | null {
  const set = header && /^bytes=(.*)$/i.exec(header.trim())?.[1]
  if (!set) return null
  // §5.6.1: a list may have empty elements and whitespace around its commas.
  const specs = set
    .split(',')
    .map((spec) => spec.trim())
    .filter(Boolean)
  // The package reads `1e3-2e3` as 1-2 and `-` as NaN, and throws on other garbage.
  if (specs.length === 0 || !specs.every((spec) => RANGE_SPEC.test(spec))) return null

  const parsed = parse(`bytes=${specs.join(',')}`)
  const ranges = ('ranges' in parsed ? parsed.ranges : [parsed]).map((range): RangeSpec =>
    'suffix' in range ? { suffix: range.suffix } : { first: range.first, last: range.last ?? null },
  )
  // §14.1.1: one range whose end lies before its start makes the whole header invalid.
  return ranges.every(isForward) ? ranges : null
}

const isForward = (spec: RangeSpec): boolean =>
  'suffix' in spec || spec.last === null || spec.first <= spec.last

/** RFC 9110 §13.1.5: the very same strong ETag, or the very same date; else the client gets the whole file. */
export function rangeStillApplies(ifRange: string | undefined, etag: string, modifiedMs: number): boolean {
  const validator = ifRange?.trim()
  return validator === undefined || validator === etag || httpDate(validator) === modifiedMs
}

const HTTP_DATES = [
  /^\w{3}, (?<day>\d\d) (?<month>\w{3}) (?<year>\d{4}) (?<time>\d\d:\d\d:\d\d) GMT$/,
  /^\w{6,9}, (?<day>\d\d)-(?<month>\w{3})-(?<year>\d\d) (?<time>\d\d:\d\d:\d\d) GMT$/,
  /^\w{3} (?<month>\w{3}) (?<day>[ \d]\d) (?<time>\d\d:\d\d:\d\d) (?<year>\d{4})$/,
]

/** One of the three forms of RFC 9110 §5.6.7, in milliseconds; NaN for anything else. */
export function httpDate(header: string | undefined): number {
  const found = HTTP_DATES.map((form) => form.exec(header ?? '')?.groups).find(Boolean)
  if (!found) return NaN
  const { day, month, year, time } = found
  return Date.parse(`${day} ${month} ${year} ${time} GMT`)
}

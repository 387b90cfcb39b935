const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'] as const

/** In steps of 1,024, as Uppy tells sizes: both stand on one page. */
export function formatBytes(bytes: number): string {
  const step = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1)
  const value = bytes / 1024 ** step
  const digits = step === 0 || value >= 10 ? 0 : 1
  return `${new Intl.NumberFormat('en', { maximumFractionDigits: digits }).format(value)} ${UNITS[step]}`
}

const SPANS: readonly [unit: Intl.RelativeTimeFormatUnit, seconds: number][] = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
]
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })

/** Such as "3 minutes ago" or "in 2 hours". */
export function formatWhen(date: Date, now: Date): string {
  const seconds = (date.getTime() - now.getTime()) / 1000
  for (const [unit, length] of SPANS)
    if (Math.abs(seconds) >= length) return relative.format(Math.round(seconds / length), unit)
  return seconds > 0 ? 'in a moment' : 'just now'
}

/** Such as "24 hours" or "7 days". */
export function formatDuration(seconds: number): string {
  const [unit, length] = SPANS.find(([, span]) => seconds >= 2 * span) ?? ['second', 1]
  return new Intl.NumberFormat('en', { style: 'unit', unit, unitDisplay: 'long' }).format(
    Math.round(seconds / length),
  )
}

export const formatPercent = (part: number): string => `${Math.floor(part * 100)}%`

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** `1.2 GB`: decimal units, three digits at most. */
export function bytesWords(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : 1
  return `${value.toFixed(digits)} ${UNITS[unit]}`
}

/** `4:05`, `1:02:03` */
export function durationWords(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const parts = [Math.floor(whole / 60) % 60, whole % 60]
  const hours = Math.floor(whole / 3600)
  if (hours > 0) parts.unshift(hours)
  return parts.map((part, at) => (at === 0 ? String(part) : String(part).padStart(2, '0'))).join(':')
}

/** What somebody else chose, such as the name of a file, with nothing in it that a terminal obeys. */
export const plain = (text: string): string => text.replace(/\p{C}/gu, '?')

/** Columns, each as wide as its widest cell; the last is as long as it is. */
export function tableWords(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  )
  return rows
    .map((row) =>
      row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))),
    )
    .map((cells) => cells.join('  '))
    .join('\n')
}

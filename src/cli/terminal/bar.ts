import { bytesWords, durationWords, plain } from './words.ts'

export interface BarState {
  name: string
  bytes: number
  /** null where nobody knows how much will come */
  total: number | null
  /** null until there is something to tell it by */
  bytesPerSecond: number | null
}

const MOST_BAR = 30
const LEAST_BAR = 8
const MOST_NAME = 32

/** One line of a terminal: name, bar, share, speed, time left; what does not fit is left out. */
export function barLine(state: BarState, columns: number): string {
  const { bytes, total } = state
  const share = shareOf(state)
  const name = shorten(plain(state.name), Math.min(MOST_NAME, Math.floor(columns / 3)))
  const facts = [
    ...(share === null ? [] : [`${String(Math.floor(share * 100)).padStart(3)} %`]),
    total === null ? bytesWords(bytes) : `${bytesWords(bytes)} of ${bytesWords(total)}`,
    ...speedWords(state),
  ].join('  ')
  const room = columns - name.length - facts.length - 7
  const line =
    share === null || room < LEAST_BAR
      ? `${name}  ${facts}`
      : `${name}  [${drawn(share, Math.min(MOST_BAR, room))}]  ${facts}`
  return line.slice(0, Math.max(0, columns - 1))
}

/** The same without a terminal: a line of a log. */
export function plainLine(state: BarState): string {
  const { name, bytes, total } = state
  const share = shareOf(state)
  const reached =
    total === null || share === null
      ? bytesWords(bytes)
      : `${Math.floor(share * 100)} % of ${bytesWords(total)}`
  return [`${plain(name)}: ${reached}`, ...speedWords(state)].join(', ')
}

const shareOf = ({ bytes, total }: BarState): number | null =>
  total === null ? null : total === 0 ? 1 : Math.min(1, bytes / total)

function speedWords({ bytes, total, bytesPerSecond }: BarState): string[] {
  if (bytesPerSecond === null) return []
  const speed = `${bytesWords(bytesPerSecond)}/s`
  if (total === null || bytes >= total || bytesPerSecond < 1) return [speed]
  return [speed, `${durationWords((total - bytes) / bytesPerSecond)} left`]
}

const drawn = (share: number, width: number): string => {
  const full = Math.floor(share * width)
  return '#'.repeat(full) + '-'.repeat(width - full)
}

const shorten = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, Math.max(0, most - 1))}…`

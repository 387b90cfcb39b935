import { barLine, plainLine, type BarState } from './bar.ts'
import { measureSpeed, type Speed } from './speed.ts'

/** What one file says of its way. */
export interface Bar {
  set(bytes: number): void
  /** something that a person should know, such as a retry */
  note(text: string): void
  end(): void
}

/** The ways of all files, on one screen or in one log. */
export interface Progress {
  start(name: string, total: number | null): Bar
  /** Writes to the same terminal without being written over. */
  beside(write: () => void): void
  stop(): void
}

interface Screen {
  write(text: string): unknown
  isTTY?: boolean | undefined
  columns?: number | undefined
}

export type Loudness = 'bars' | 'lines' | 'quiet'

const DRAW_MS = 150
const LINE_MS = 5_000

interface Running {
  name: string
  total: number | null
  bytes: number
  speed: Speed
}

/** @param loudness 'bars' redraws in place, 'lines' adds a line now and then, 'quiet' tells nothing but notes */
export function showProgress(screen: Screen, loudness: Loudness, now = () => performance.now()): Progress {
  const running = new Set<Running>()
  let drawn = 0
  let timer: NodeJS.Timeout | null = null

  const stateOf = ({ name, total, bytes, speed }: Running): BarState => {
    speed.note(bytes, now())
    return { name, total, bytes, bytesPerSecond: speed.bytesPerSecond(now()) }
  }
  const wipe = () => {
    if (drawn > 0) screen.write(`\x1b[${drawn}A\x1b[0J`)
    drawn = 0
  }
  const draw = () => {
    if (loudness === 'quiet') return
    const states = [...running].map(stateOf)
    if (loudness === 'lines') {
      for (const state of states) screen.write(`${plainLine(state)}\n`)
      return
    }
    wipe()
    screen.write(states.map((state) => `${barLine(state, screen.columns || 80)}\n`).join(''))
    drawn = states.length
  }
  const beside = (write: () => void) => {
    wipe()
    write()
    if (loudness === 'bars') draw()
  }
  const stop = () => {
    if (timer) clearInterval(timer)
    timer = null
  }

  return {
    start(name, total) {
      const file: Running = { name, total, bytes: 0, speed: measureSpeed() }
      running.add(file)
      timer ??= setInterval(draw, loudness === 'bars' ? DRAW_MS : LINE_MS)
      return {
        set(bytes) {
          file.bytes = bytes
        },
        note: (text) => beside(() => screen.write(`${name}: ${text}\n`)),
        end() {
          running.delete(file)
          if (loudness === 'bars') draw()
          if (running.size === 0) stop()
        },
      }
    },
    beside,
    stop() {
      wipe()
      stop()
    },
  }
}

export const loudnessOf = (
  screen: Screen,
  { quiet, term }: { quiet: boolean; term: string | undefined },
): Loudness => (quiet ? 'quiet' : screen.isTTY === true && term !== 'dumb' ? 'bars' : 'lines')

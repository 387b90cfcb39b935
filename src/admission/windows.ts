export interface WindowOptions {
  lengthMs: number
  /** past that the oldest is forgotten */
  maxKeys: number
  /** the clock, in milliseconds; it never goes back */
  now: () => number
}

const MINUTE: WindowOptions = { lengthMs: 60_000, maxKeys: 10_000, now: () => performance.now() }

/** A value for each key, from its first use until the window is over: a minute, unless told otherwise. */
export function createWindows<T>(fresh: () => T, options: Partial<WindowOptions> = {}): (key: string) => T {
  const { lengthMs, maxKeys, now } = { ...MINUTE, ...options }
  // What begins last stands last, and so does what ends last.
  const windows = new Map<string, { endsAt: number; value: T }>()

  const makeRoom = (at: number) => {
    for (const [key, { endsAt }] of windows) {
      if (at < endsAt && windows.size < maxKeys) return
      windows.delete(key)
    }
  }

  return (key) => {
    const at = now()
    const known = windows.get(key)
    if (known && at < known.endsAt) return known.value
    makeRoom(at)
    const value = fresh()
    windows.set(key, { endsAt: at + lengthMs, value })
    return value
  }
}

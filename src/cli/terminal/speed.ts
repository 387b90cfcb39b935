/** Over the last seconds, so that it follows what the line does now. */
const WINDOW_MS = 5_000
const LEAST_MS = 500

export interface Speed {
  note(bytes: number, nowMs: number): void
  /** null until there is enough to tell it by */
  bytesPerSecond(nowMs: number): number | null
}

export function measureSpeed(): Speed {
  let samples: { bytes: number; atMs: number }[] = []
  return {
    note(bytes, atMs) {
      const last = samples.at(-1)
      // What is sent again is no speed to go by.
      if (last && bytes < last.bytes) samples = []
      samples.push({ bytes, atMs })
      while (samples.length > 2 && atMs - (samples[1]?.atMs ?? atMs) > WINDOW_MS) samples.shift()
    },
    bytesPerSecond(nowMs) {
      const [first] = samples
      const last = samples.at(-1)
      if (!first || !last || nowMs - first.atMs < LEAST_MS) return null
      return ((last.bytes - first.bytes) / (nowMs - first.atMs)) * 1000
    },
  }
}

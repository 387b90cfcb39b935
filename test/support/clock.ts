import { afterEach, vi } from 'vitest'

/** Moves the time of day of this process, and of the servers in it; timers go on as they are. Ends with the test. */
export function useClock(): { move(bySeconds: number): void } {
  afterEach(() => {
    vi.useRealTimers()
  })
  return {
    move(bySeconds) {
      const at = Date.now() + bySeconds * 1000
      vi.useFakeTimers({ toFake: ['Date'] })
      vi.setSystemTime(at)
    },
  }
}

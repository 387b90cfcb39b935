import { afterEach, beforeEach, vi } from 'vitest'

/** For a file of tests whose time passes only as they say. */
export function useFakeTimers() {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })
  const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)
  return { pass, settle: () => pass(0) }
}

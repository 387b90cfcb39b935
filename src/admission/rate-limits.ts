import { createWindows, type WindowOptions } from './windows.ts'

/** Counts requests: `perMinute` of each key pass in the minute that its first one begins. 0 is no limit. */
export function createRequestLimit(perMinute: number, options: Partial<WindowOptions> = {}) {
  const windowOf = createWindows(() => ({ requests: 0 }), options)
  /** @returns whether the request passes */
  return (key: string): boolean => {
    if (perMinute === 0) return true
    const window = windowOf(key)
    if (window.requests >= perMinute) return false
    window.requests += 1
    return true
  }
}

/**
 * Counts guesses: different wrong secrets from one address in a minute. A client that repeats a stale key
 * guesses once. 0 is no limit.
 */
export function createGuessLimit(perMinute: number, options: Partial<WindowOptions> = {}) {
  const guessesOf = createWindows(() => new Set<string>(), options)
  /**
   * @param guess something short that tells secrets apart, and not the secret
   * @returns whether the address has made no more guesses than it may
   */
  return (address: string, guess: string): boolean => {
    if (perMinute === 0) return true
    const guesses = guessesOf(address)
    if (guesses.size >= perMinute) return guesses.has(guess)
    guesses.add(guess)
    return true
  }
}

export type RequestLimit = ReturnType<typeof createRequestLimit>
export type GuessLimit = ReturnType<typeof createGuessLimit>

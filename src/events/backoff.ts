/** Each pause is so many times as long as the one before, up to the longest. */
const FACTOR = 3
const LONGEST_MS = 12 * 3600 * 1000

/**
 * How long to wait after an attempt that failed: shorter by up to a half, at random, so that what failed
 * together does not come again together.
 * @param failed attempts, 1 or more
 * @returns null when that was the last
 */
export function retryIn(
  failed: number,
  { maxAttempts, retryMs }: { maxAttempts: number; retryMs: number },
  random: () => number = Math.random,
): number | null {
  if (failed >= maxAttempts) return null
  const longest = Math.max(retryMs, LONGEST_MS)
  return Math.round(Math.min(retryMs * FACTOR ** (failed - 1), longest) * (1 - random() / 2))
}

/**
 * Does the work for every item, for `limit` of them at a time. After a failure nothing new begins,
 * and what had begun has ended before it is thrown.
 * @returns the results in the order of the items
 */
export async function atATime<T, R>(
  limit: number,
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  let next = 0
  let failed = false
  const line = async () => {
    while (next < items.length && !failed) {
      const index = next++
      try {
        results[index] = await work(items[index] as T)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  const lines = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, line))
  const failure = lines.find((ended) => ended.status === 'rejected')
  if (failure) throw failure.reason
  return results
}

/**
 * Does `work` for 0 … count - 1, `workers` at a time. After a failure nothing new is begun; what is under
 * way is waited for, then the first failure is thrown.
 */
export async function inParallel(
  count: number,
  workers: number,
  work: (index: number) => Promise<void>,
): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) {
      try {
        await work(next++)
      } catch (error) {
        next = count
        throw error
      }
    }
  }
  const ends = await Promise.allSettled(Array.from({ length: Math.min(workers, count) }, worker))
  for (const end of ends) if (end.status === 'rejected') throw end.reason
}

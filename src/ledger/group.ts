import { setImmediate } from 'node:timers/promises'

/** Items that are worked on together. */
export interface Group<T, R> {
  /** Resolves once the run that carries the item is over. */
  add(item: T): Promise<R>
  /** Resolves when no run is under way. */
  idle(): Promise<void>
}

interface Waiting<T, R> {
  item: T
  resolve(result: R): void
  reject(error: unknown): void
}

/**
 * Items that arrive while one run is under way share the next.
 * @param most items of a run
 * @param work gives a result for each item, in order
 */
export function inGroups<T, R>(most: number, work: (items: T[]) => Promise<R[]>): Group<T, R> {
  const waiting: Waiting<T, R>[] = []
  let running: Promise<void> | null = null

  async function drain(): Promise<void> {
    // What is called in the same turn of the event loop comes along: a request a callback, one after another.
    await setImmediate()
    while (waiting.length > 0) await run(waiting.splice(0, most))
    running = null
  }

  async function run(batch: Waiting<T, R>[]): Promise<void> {
    try {
      const results = await work(batch.map(({ item }) => item))
      batch.forEach(({ resolve }, i) => resolve(results[i] as R))
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  return {
    add: (item) =>
      new Promise((resolve, reject) => {
        waiting.push({ item, resolve, reject })
        running ??= drain()
      }),
    async idle() {
      while (running) await running
    },
  }
}

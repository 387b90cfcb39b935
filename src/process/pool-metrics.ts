import type { FromPrimary } from './pool-messages.ts'

/** A worker, as far as metrics go. */
export interface Counting {
  /** Says something to it; false when nobody listens. */
  tell(message: FromPrimary): boolean
}

export interface PoolMetricsParts {
  /** the workers that are there */
  workers(): Iterable<Counting>
  /** of several snapshots one, of what only grows */
  mergeCounts(snapshots: readonly string[]): Promise<string>
  /** how long a worker may take to answer */
  patienceMs?: number
}

const PATIENCE_MS = 1_000

/**
 * Gathers what all workers have counted. Sums must not fall when a worker dies or stands still, or whoever
 * watches them takes it for a restart of everything and counts it all again: so in its place stands what it
 * told last.
 */
export function createPoolMetrics({ workers, mergeCounts, patienceMs = PATIENCE_MS }: PoolMetricsParts) {
  const last = new Map<Counting, string>()
  /** of workers that are gone */
  const gone: string[] = []
  let round = 0
  let waiting: { for: Map<Counting, string | null>; look: () => void } | null = null
  let gathering: Promise<readonly string[]> | null = null

  /** Asks everybody. @returns who was asked and what they said; null for those who said nothing in time */
  const ask = () =>
    new Promise<Map<Counting, string | null>>((resolve) => {
      round += 1
      const answers = new Map<Counting, string | null>()
      for (const worker of workers())
        if (worker.tell({ type: 'metrics-asked', round })) answers.set(worker, null)
      const over = () => {
        clearTimeout(timer)
        waiting = null
        resolve(answers)
      }
      const timer = setTimeout(over, patienceMs)
      const look = () => {
        if (![...answers.values()].includes(null)) over()
      }
      waiting = { for: answers, look }
      look()
    })

  const gather = async (): Promise<readonly string[]> => {
    const answers = await ask()
    const silent = [...answers].flatMap(([worker, said]) => (said === null ? (last.get(worker) ?? []) : []))
    if (gone.length > 1) gone.unshift(await mergeCounts(gone.splice(0)))
    const counts = [...gone, ...silent]
    const told = [...answers.values()].filter((said) => said !== null)
    return counts.length === 0 ? told : [...told, await mergeCounts(counts)]
  }

  return {
    /** One round for all who ask while it lasts. */
    gather(): Promise<readonly string[]> {
      gathering ??= gather().finally(() => (gathering = null))
      return gathering
    },
    told(worker: Counting, ofRound: number, snapshot: string): void {
      last.set(worker, snapshot)
      if (!waiting || ofRound !== round || !waiting.for.has(worker)) return
      waiting.for.set(worker, snapshot)
      waiting.look()
    },
    left(worker: Counting): void {
      const snapshot = last.get(worker)
      last.delete(worker)
      if (snapshot !== undefined) gone.push(snapshot)
      // What it had said already, in this round, is its last word as well.
      if (waiting?.for.delete(worker)) waiting.look()
    },
  }
}

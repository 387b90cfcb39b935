import { setTimeout as wait } from 'node:timers/promises'
import pRetry from 'p-retry'
import type { Turn } from '../../core/ports/body.ts'
import type { Meter } from '../../core/ports/meter.ts'
import { isTransient } from './errors.ts'

/** What one piece of work may take, and what it took. */
export interface Effort {
  /** held during each request and never in between */
  turn?: Turn
  /** tries beyond the first, counted here */
  retries: number
}

export interface RetryOptions {
  /** tries beyond the first, of one request */
  maxRetries: number
  meter: Pick<Meter, 'storeRetried'>
  /** from 0 up to but not including 1 */
  random?: () => number
  sleep?: (ms: number) => Promise<unknown>
}

const FIRST_DELAY_MS = 100
const LONGEST_DELAY_MS = 5_000

export interface Retry {
  readonly maxRetries: number
  /** Does the work until it succeeds, fails for good, or has been tried often enough. */
  run<T>(operation: string, work: () => Promise<T>, effort?: Effort): Promise<T>
  /** Sleeps before the `attempt`-th try beyond the first, and counts it. */
  backOff(operation: string, attempt: number, effort?: Effort): Promise<void>
}

/**
 * Tries again what may succeed in a moment, after a pause that grows and is random from its first
 * millisecond on: those who failed together don't come back together.
 */
export function createRetry({ maxRetries, meter, random = Math.random, sleep = wait }: RetryOptions): Retry {
  const backOff: Retry['backOff'] = async (operation, attempt, effort) => {
    if (effort) effort.retries += 1
    meter.storeRetried(operation)
    await sleep(random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1)))
  }
  return {
    maxRetries,
    backOff,
    run: (operation, work, effort) =>
      pRetry(() => inTurn(work, effort?.turn), {
        retries: maxRetries,
        minTimeout: 0,
        async shouldRetry({ error, attemptNumber }) {
          if (!isTransient(error)) return false
          await backOff(operation, attemptNumber, effort)
          return true
        },
      }),
  }
}

/** A turn may be refused for good: then nothing is sent. */
async function inTurn<T>(work: () => Promise<T>, turn: Turn | undefined): Promise<T> {
  const free = turn?.enter()
  if (free) await free
  try {
    return await work()
  } finally {
    turn?.leave()
  }
}

import type { Deps } from './deps.ts'

const BATCH = 1_000
/** One run is over after so many; what is left is for the next. */
const BATCHES_PER_RUN = 100

/**
 * Forgets Idempotency-Keys whose time is over. They count for nothing by then: this only makes room.
 * @param signal stops it between two batches
 * @returns how many
 */
export const forgetKeys =
  ({ ledger, now }: Deps) =>
  async (signal = new AbortController().signal): Promise<number> => {
    let forgotten = 0
    for (let batches = 0; batches < BATCHES_PER_RUN && !signal.aborted; batches++) {
      const some = await ledger.forget(now(), BATCH)
      forgotten += some
      if (some < BATCH) break
    }
    return forgotten
  }

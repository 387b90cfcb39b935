/** What is to be done about a worker that died. */
export type Verdict = { giveUp: true } | { giveUp: false; pauseMs: number }

const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 10_000
/** A worker that has been up for less died at once: what killed it may well kill the next. */
const SOUND_MS = 10_000
/** starts, beyond one of each worker, that may fail in a row */
const TRIES = 3

/** Decides when a dead worker gets a successor: at once, or later and later while they die at once. */
export function createRestarts(workers: number) {
  let diedAtOnce = 0
  let neverUp = 0
  return {
    /** One got up: whatever kept others from it may be over. */
    gotUp(): void {
      neverUp = 0
    },
    /**
     * @param upMs how long it was up; null when it never was
     * @param othersUp whether anybody else serves
     */
    died(upMs: number | null, othersUp: boolean): Verdict {
      if (upMs === null) neverUp += 1
      if (upMs !== null && upMs >= SOUND_MS) {
        diedAtOnce = 0
        return { giveUp: false, pauseMs: 0 }
      }
      diedAtOnce += 1
      if (!othersUp && neverUp >= workers + TRIES) return { giveUp: true }
      return { giveUp: false, pauseMs: Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (diedAtOnce - 1)) }
    },
  }
}

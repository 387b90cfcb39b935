import type { Holder } from '../../src/core/ports/locker.ts'

/** A holder whose state the test sets. It gives way as a body does: it counts, and lets go on its own. */
interface Actor extends Holder {
  isIdle: boolean
  yields: number
  onYield: () => void
}

export const actor = ({ idle = false } = {}): Actor => ({
  isIdle: idle,
  yields: 0,
  onYield: () => {},
  idle() {
    return this.isIdle
  },
  yield() {
    this.yields += 1
    this.onYield()
  },
})

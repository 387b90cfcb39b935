import { createLeaseLocker } from '../../src/admission/lease-locker.ts'
import { createLocker } from '../../src/admission/locker.ts'
import type { Hold, Holder, Place } from '../../src/core/ports/locker.ts'
import { actor } from './holder.ts'
import { createMemoryLeases } from './memory-leases.ts'

export const TTL_MS = 10_000
export const RENEW_MS = 2_000
export const MARGIN_MS = 2_000
export const LOOK_MS = 500
const PAUSE_MS = 100
/** the longest that a sleep between two tries of 100 ms may be */
export const LONGEST_PAUSE_MS = 140
export const PATIENCE_MS = 30_000

/** Processes on one table of leases. */
export function createProcesses() {
  const table = createMemoryLeases()
  const open = (name: string) => {
    const { leases, connection } = table.processOf(name)
    const locker = createLeaseLocker({
      leases,
      inner: createLocker({ patienceMs: PATIENCE_MS, lookMs: LOOK_MS }),
      options: {
        ttlMs: TTL_MS,
        renewMs: RENEW_MS,
        marginMs: MARGIN_MS,
        lookMs: LOOK_MS,
        patienceMs: PATIENCE_MS,
        pauseMs: PAUSE_MS,
      },
    })
    return { locker, connection }
  }
  return { a: open('a'), b: open('b'), size: table.size }
}

type Process = ReturnType<typeof createProcesses>['a']

/** Asks for a place and remembers what came of it, so that a test can look without waiting. */
export function ask({ locker }: Process, place: Place, holder: Holder = actor(), wait = true, id = 'u') {
  const asked = { hold: null as Hold | null, error: null as unknown, has: () => asked.hold !== null }
  locker.acquire(id, place, holder, wait).then(
    (hold) => {
      asked.hold = hold
    },
    (error: unknown) => {
      asked.error = error
    },
  )
  return asked
}

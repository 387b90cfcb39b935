import { randomUUID } from 'node:crypto'
import { locked } from '../core/errors.ts'
import type { Hold, Holder, Lease, Leases, LeaseState, Locker } from '../core/ports/locker.ts'
import { createLeaseKeeper, type Kept, type LeaseTimes } from './lease-keeper.ts'
import { isWriters } from './locker.ts'

export interface LeaseLockerOptions extends LeaseTimes {
  /** how long a writer waits for its turn */
  patienceMs: number
  /** how long it sleeps between two tries, about: those that wait shall not keep step */
  pauseMs: number
}

export interface LeaseLockerParts {
  leases: Leases
  /** the locker of this process: who comes second here waits there and asks no database */
  inner: Locker
  options?: Partial<LeaseLockerOptions>
  /** a clock that is never set */
  now?: () => number
}

/**
 * A client that tus-js-client is, with its own settings, gives up some nine seconds after it lost its
 * server: by then its place is to be had elsewhere. And a process that stands still for a few seconds is
 * not to lose all it holds.
 */
const DEFAULTS: LeaseLockerOptions = {
  ttlMs: 6_000,
  renewMs: 1_500,
  marginMs: 1_500,
  lookMs: 500,
  patienceMs: 30_000,
  pauseMs: 175,
}

/** Renewals that a holder may miss before it is taken for dead: then it is waited for. */
const MISSED_RENEWALS = 2.5
/** the longest sleep of one that waits for a dead holder's lease to expire */
const LONGEST_PAUSE_MS = 1_000

/**
 * The locker of one of several processes: a place is taken here first, then before the others. It is had
 * from another process when its holder there is idle and gives way, or dead, so that its lease expires;
 * never from a healthy one. Who waits sleeps and tries again: nobody tells when a place becomes free.
 */
export function createLeaseLocker(parts: LeaseLockerParts): Locker {
  const { leases, inner, options = {}, now = () => performance.now() } = parts
  const { patienceMs, pauseMs, ...times } = { ...DEFAULTS, ...options }
  const keeper = createLeaseKeeper(leases, times, now)

  const isSilent = ({ expiresInMs }: LeaseState) =>
    expiresInMs <= times.ttlMs - MISSED_RENEWALS * times.renewMs
  const pause = (beyondMs = 0) =>
    new Promise((resolve) => setTimeout(resolve, pauseMs * (0.6 + 0.8 * Math.random()) + beyondMs))

  /**
   * @param givesUp whether to wait no longer for a holder that was not asked to give way
   * @returns when the taking was asked for
   */
  async function take(lease: Lease, givesUp: (state: LeaseState, asked: boolean) => boolean) {
    let asked: string | null = null
    for (;;) {
      const takenAt = now()
      const state = await leases.take(lease, times.ttlMs)
      if (state === null) return takenAt
      if (givesUp(state, state.token === asked)) throw locked()
      if (state.idle && state.token !== asked) {
        asked = state.token
        await leases.ask({ ...lease, token: asked })
      }
      await pause(isSilent(state) ? Math.min(state.expiresInMs, LONGEST_PAUSE_MS) : 0)
    }
  }

  async function drainElsewhere(id: string): Promise<void> {
    const deadline = now() + patienceMs
    const asked = new Set<string>()
    for (;;) {
      const writers = await writersElsewhere(id)
      if (writers.length === 0) break
      if (now() >= deadline) throw locked()
      for (const { place, token } of writers) {
        if (!asked.has(token)) await leases.ask({ id, place, token })
        asked.add(token)
      }
      await pause()
    }
    // A process that was stopped has not noticed yet that its leases are over.
    await leases.sweep({ id })
  }

  const writersElsewhere = async (id: string) =>
    (await leases.elsewhere(id)).filter(({ place }) => isWriters(place))

  return {
    async acquire(id, place, holder, wait) {
      const deadline = now() + patienceMs
      const waiting = noticing(holder)
      const turn = await inner.acquire(id, place, waiting, wait)
      const lease = { id, place, token: randomUUID() }
      let { afterAnother } = turn
      try {
        const takenAt = await take(lease, (state, asked) => {
          afterAnother = true
          return (
            waiting.hasYielded() || now() >= deadline || !(wait || asked || state.idle || isSilent(state))
          )
        })
        return { ...holdOf(leases, lease, keeper.keep(lease, holder, takenAt), turn), afterAnother }
      } catch (error) {
        await turn.release()
        throw error
      }
    },
    async busy(id) {
      if (await inner.busy(id)) return true
      return (await writersElsewhere(id)).some(({ idle }) => !idle)
    },
    async drain(id) {
      await Promise.all([inner.drain(id), drainElsewhere(id)])
    },
  }
}

/** The same holder, and whether it was told to yield. */
function noticing(holder: Holder) {
  let yielded = false
  return {
    idle: () => holder.idle(),
    yield() {
      yielded = true
      holder.yield()
    },
    hasYielded: () => yielded,
  }
}

function holdOf(leases: Leases, lease: Lease, kept: Kept, turn: Hold): Omit<Hold, 'afterAnother'> {
  let released = false
  return {
    fence: { place: lease.place, token: lease.token },
    held: () => !released && kept.held(),
    async release() {
      if (released) return
      released = true
      kept.drop()
      // The next one here need not wait for the database: it may take what this process still holds there.
      await turn.release()
      try {
        await leases.release(lease)
      } catch {
        // It will expire.
      }
    },
  }
}

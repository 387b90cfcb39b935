import { locked } from '../core/errors.ts'
import type { Hold, Holder, Locker, Place } from '../core/ports/locker.ts'

export interface LockerOptions {
  /** how long a writer waits for its turn */
  patienceMs: number
  /** how often waiting writers look whether the holder has gone idle */
  lookMs: number
}

interface Waiter {
  holder: Holder
  resolve: (hold: Hold) => void
  reject: (error: Error) => void
  timer: NodeJS.Timeout
}

/** A place that is held. */
interface Taken {
  holder: Holder
  waiting: Waiter[]
}

const DEFAULTS: LockerOptions = { patienceMs: 30_000, lookMs: 500 }

/** The locker of a single process, and the first of two where there are more. Waiters sleep in a queue; a look at idle holders is all that ticks. */
export function createLocker(options: Partial<LockerOptions> = {}): Locker {
  const { patienceMs, lookMs } = { ...DEFAULTS, ...options }
  const uploads = new Map<string, Map<Place, Taken>>()
  let waiters = 0
  let ticking: NodeJS.Timeout | undefined

  const look = () => {
    for (const places of uploads.values())
      for (const { holder, waiting } of places.values())
        if (waiting.length > 0 && holder.idle()) holder.yield()
  }
  const countWaiter = (change: 1 | -1) => {
    waiters += change
    if (waiters > 0) ticking ??= setInterval(look, lookMs).unref()
    else {
      clearInterval(ticking)
      ticking = undefined
    }
  }

  const release = (id: string, place: Place, taken: Taken) => {
    const next = taken.waiting.shift()
    if (next) {
      clearTimeout(next.timer)
      countWaiter(-1)
      taken.holder = next.holder
      next.resolve(holdOf(id, place, taken, true))
      return
    }
    const places = uploads.get(id)
    places?.delete(place)
    if (places?.size === 0) uploads.delete(id)
  }

  const holdOf = (id: string, place: Place, taken: Taken, afterAnother: boolean): Hold => {
    let released = false
    return {
      afterAnother,
      fence: null,
      held: () => !released,
      async release() {
        if (released) return
        released = true
        release(id, place, taken)
      },
    }
  }

  const queueFor = (taken: Taken, id: string, place: Place, holder: Holder) =>
    new Promise<Hold>((resolve, reject) => {
      const giveUp = () => {
        taken.waiting.splice(taken.waiting.indexOf(waiter), 1)
        countWaiter(-1)
        reject(locked())
      }
      const waiter: Waiter = { holder, resolve, reject, timer: setTimeout(giveUp, patienceMs) }
      taken.waiting.push(waiter)
      countWaiter(1)
    })

  const acquire: Locker['acquire'] = async (id, place, holder, wait) => {
    const places = uploads.get(id) ?? new Map<Place, Taken>()
    uploads.set(id, places)
    const taken = places.get(place)
    if (!taken) {
      const fresh: Taken = { holder, waiting: [] }
      places.set(place, fresh)
      return holdOf(id, place, fresh, false)
    }
    if (taken.holder.idle()) taken.holder.yield()
    else if (!wait) throw locked()
    return queueFor(taken, id, place, holder)
  }

  const writersOf = (id: string) => [...(uploads.get(id) ?? [])].filter(([place]) => isWriters(place))

  return {
    acquire,
    busy: async (id) => writersOf(id).some(([, { holder }]) => !holder.idle()),
    async drain(id) {
      const writers = writersOf(id)
      for (const [, { holder, waiting }] of writers) {
        holder.yield()
        for (const waiter of waiting) waiter.holder.yield()
      }
      const passing: Holder = { idle: () => true, yield: () => {} }
      await Promise.all(writers.map(async ([place]) => (await acquire(id, place, passing, true)).release()))
    },
  }
}

/** Whether bytes are written under it. */
export const isWriters = (place: Place): boolean => place === 'append' || typeof place === 'number'

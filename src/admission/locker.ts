import { HttpError } from '../core/errors.ts'
import type { Holder, Locker } from '../core/ports.ts'

export interface LockerOptions {
  /** how long a writer waits for its turn */
  patienceMs: number
  /** how often waiting writers look whether the holder has gone idle */
  lookMs: number
}

interface Waiter {
  holder: Holder
  resolve: (release: () => void) => void
  reject: (error: Error) => void
  timer: NodeJS.Timeout
}

interface Place {
  holder: Holder
  waiting: Waiter[]
}

const DEFAULTS: LockerOptions = { patienceMs: 30_000, lookMs: 500 }

/** The locker of a single process. Waiters sleep in a queue; a look at idle holders is all that ticks. */
export function createLocker(options: Partial<LockerOptions> = {}): Locker {
  const { patienceMs, lookMs } = { ...DEFAULTS, ...options }
  const uploads = new Map<string, Map<number | 'append', Place>>()
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

  const releaseOf = (id: string, key: number | 'append', place: Place) => {
    let released = false
    return () => {
      if (released) return
      released = true
      const next = place.waiting.shift()
      if (next) {
        clearTimeout(next.timer)
        countWaiter(-1)
        place.holder = next.holder
        next.resolve(releaseOf(id, key, place))
        return
      }
      const places = uploads.get(id)
      places?.delete(key)
      if (places?.size === 0) uploads.delete(id)
    }
  }

  const queueFor = (place: Place, id: string, key: number | 'append', holder: Holder) =>
    new Promise<() => void>((resolve, reject) => {
      const giveUp = () => {
        place.waiting.splice(place.waiting.indexOf(waiter), 1)
        countWaiter(-1)
        reject(new HttpError('locked', { headers: { 'Retry-After': '1' } }))
      }
      const waiter: Waiter = { holder, resolve, reject, timer: setTimeout(giveUp, patienceMs) }
      place.waiting.push(waiter)
      countWaiter(1)
    })

  const acquire: Locker['acquire'] = async (id, key, holder, wait) => {
    const places = uploads.get(id) ?? new Map<number | 'append', Place>()
    uploads.set(id, places)
    const place = places.get(key)
    if (!place) {
      const taken: Place = { holder, waiting: [] }
      places.set(key, taken)
      return releaseOf(id, key, taken)
    }
    if (place.holder.idle()) place.holder.yield()
    else if (!wait) throw new HttpError('locked', { headers: { 'Retry-After': '1' } })
    return queueFor(place, id, key, holder)
  }

  return {
    acquire,
    busy: (id) => [...(uploads.get(id)?.values() ?? [])].some(({ holder }) => !holder.idle()),
    async drain(id) {
      const places = [...(uploads.get(id) ?? [])]
      for (const [, place] of places) {
        place.holder.yield()
        for (const { holder } of place.waiting) holder.yield()
      }
      const passing: Holder = { idle: () => true, yield: () => {} }
      await Promise.all(places.map(async ([key]) => (await acquire(id, key, passing, true))()))
    },
  }
}

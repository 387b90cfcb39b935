import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createLeaseLocker } from '../../src/admission/lease-locker.ts'
import { createLocker } from '../../src/admission/locker.ts'
import type { Hold, Holder, Place } from '../../src/core/ports.ts'
import { createMemoryLeases } from '../support/memory-leases.ts'

const TTL_MS = 10_000
const RENEW_MS = 2_000
const MARGIN_MS = 2_000
const LOOK_MS = 500
const PAUSE_MS = 100
/** the longest that a sleep between two tries of 100 ms may be */
const LONGEST_PAUSE_MS = 140
const PATIENCE_MS = 30_000

/** A holder whose state the test sets; it counts how often it is told to yield. */
interface Actor extends Holder {
  isIdle: boolean
  yields: number
  onYield: () => void
}
const actor = ({ idle = false } = {}): Actor => ({
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

/** Processes on one table of leases. */
function useProcesses() {
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

type Process = ReturnType<typeof useProcesses>['a']

/** Asks for a place and remembers what came of it, so that a test can look without waiting. */
function ask({ locker }: Process, place: Place, holder: Holder = actor(), wait = true, id = 'u') {
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

/** Whether a promise has been kept by now. */
const watch = (promise: Promise<unknown>) => {
  const watched = { done: false }
  void promise.then(() => (watched.done = true))
  return watched
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)
const settle = () => pass(0)

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('a place', () => {
  it('that is held here is refused elsewhere, with 423 at once to one that will not wait', async () => {
    const { a, b } = useProcesses()
    const holder = actor()
    const held = ask(a, 'append', holder)
    await settle()
    const refused = ask(b, 'append', actor(), false)
    await settle()
    expect(held.has()).toBe(true)
    expect(refused.error).toMatchObject({ status: 423, headers: { 'Retry-After': '1' } })
    expect(holder.yields).toBe(0)
  })

  it('that is released here is had by one that waits elsewhere', async () => {
    const { a, b } = useProcesses()
    const held = ask(a, 0)
    await settle()
    const next = ask(b, 0)
    await pass(1_000)
    expect(next.has()).toBe(false)
    await held.hold?.release()
    await pass(LONGEST_PAUSE_MS)
    expect(next.has()).toBe(true)
  })

  it('has another fence each time, and none that stands for two', async () => {
    const { a, b } = useProcesses()
    const first = ask(a, 3)
    await settle()
    await first.hold?.release()
    const second = ask(b, 3)
    await settle()
    expect(first.hold?.fence?.place).toBe(3)
    expect(second.hold?.fence?.token).not.toBe(first.hold?.fence?.token)
    expect([first.hold?.held(), second.hold?.held()]).toEqual([false, true])
  })

  it('is waited for in the queue of the process, which asks the database for the first only', async () => {
    const { a } = useProcesses()
    const held = ask(a, 0)
    await settle()
    const waiting = [ask(a, 0), ask(a, 0)]
    await pass(5_000)
    expect(a.connection.takings).toBe(1)
    await held.hold?.release()
    await settle()
    expect(waiting.map((each) => each.has())).toEqual([true, false])
    expect(a.connection.takings).toBe(2)
  })

  it('is given up with 423 when patience ends, and the holder elsewhere has not been disturbed', async () => {
    const { a, b } = useProcesses()
    const holder = actor()
    const held = ask(a, 0, holder)
    await settle()
    const next = ask(b, 0)
    await pass(PATIENCE_MS - LONGEST_PAUSE_MS)
    expect(next.error).toBeNull()
    await pass(2 * LONGEST_PAUSE_MS)
    expect(next.error).toMatchObject({ status: 423 })
    expect([holder.yields, held.hold?.held()]).toEqual([0, true])
  })

  it('is free again in its process when the database refuses to lease it', async () => {
    const { a } = useProcesses()
    a.connection.away = true
    const failed = ask(a, 0)
    await settle()
    expect(String(failed.error)).toContain('away')
    a.connection.away = false
    const next = ask(a, 0, actor(), false)
    await settle()
    expect(next.has()).toBe(true)
  })
})

describe('a holder whose bytes keep coming', () => {
  it('keeps its place for hours, whoever asks elsewhere', async () => {
    const { a, b } = useProcesses()
    const holder = actor()
    const held = ask(a, 'append', holder)
    await settle()
    for (let minute = 0; minute < 120; minute++) {
      const refused = ask(b, 'append', actor(), false)
      await pass(60_000)
      expect(refused.error).toMatchObject({ status: 423 })
    }
    expect([holder.yields, held.hold?.held()]).toEqual([0, true])
  })

  it('is renewed along with all others of its process, in one call', async () => {
    const { a } = useProcesses()
    const held = Array.from({ length: 100 }, (_, cell) => ask(a, cell))
    await pass(4 * RENEW_MS)
    expect(a.connection.renewals).toBe(4)
    expect(held.every(({ hold }) => hold?.held())).toBe(true)
  })

  it('outlives renewals that fail, as long as one succeeds in time', async () => {
    const { a, b } = useProcesses()
    const holder = actor()
    const held = ask(a, 0, holder)
    await settle()
    for (let i = 0; i < 5; i++) {
      a.connection.away = true
      await pass(TTL_MS - MARGIN_MS - RENEW_MS - LOOK_MS)
      a.connection.away = false
      await pass(RENEW_MS)
    }
    expect([holder.yields, held.hold?.held()]).toEqual([0, true])
    const other = ask(b, 0, actor(), false)
    await settle()
    expect(other.error).toMatchObject({ status: 423 })
  })
})

describe('an idle holder', () => {
  it('gives way to one that asks elsewhere, also to one that will not wait', async () => {
    for (const wait of [true, false]) {
      const { a, b } = useProcesses()
      const holder = actor()
      const held = ask(a, 'append', holder)
      await settle()
      holder.isIdle = true
      await pass(LOOK_MS)
      const next = ask(b, 'append', actor(), wait)
      await pass(LOOK_MS)
      expect([holder.yields, next.has()]).toEqual([1, false])
      await held.hold?.release()
      await pass(LONGEST_PAUSE_MS)
      expect(next.has()).toBe(true)
    }
  })

  it('stays where nobody asks', async () => {
    const { a } = useProcesses()
    const holder = actor({ idle: true })
    ask(a, 'append', holder)
    await pass(10 * TTL_MS)
    expect(holder.yields).toBe(0)
  })

  it('that goes on before anybody asks is healthy again', async () => {
    const { a, b } = useProcesses()
    const holder = actor({ idle: true })
    ask(a, 'append', holder)
    await pass(LOOK_MS)
    holder.isIdle = false
    await pass(LOOK_MS)
    const refused = ask(b, 'append', actor(), false)
    await settle()
    expect(refused.error).toMatchObject({ status: 423 })
    await pass(TTL_MS)
    expect(holder.yields).toBe(0)
  })

  it('that was asked is waited for, though it goes on in the meantime', async () => {
    const { a, b } = useProcesses()
    const holder = actor({ idle: true })
    const held = ask(a, 'append', holder)
    await pass(LOOK_MS)
    const next = ask(b, 'append', actor(), false)
    await settle()
    holder.isIdle = false
    holder.onYield = () => void held.hold?.release()
    await pass(LOOK_MS + LONGEST_PAUSE_MS)
    expect([holder.yields, next.has()]).toEqual([1, true])
  })

  it('is told to yield once, however long it takes', async () => {
    const { a, b } = useProcesses()
    const holder = actor({ idle: true })
    ask(a, 0, holder)
    await pass(LOOK_MS)
    ask(b, 0)
    await pass(10_000)
    expect(holder.yields).toBe(1)
  })

  it('gives way within its process as well', async () => {
    const { a } = useProcesses()
    const holder = actor({ idle: true })
    const held = ask(a, 'append', holder)
    await settle()
    const next = ask(a, 'append', actor(), false)
    await settle()
    expect(holder.yields).toBe(1)
    await held.hold?.release()
    await settle()
    expect(next.has()).toBe(true)
  })
})

describe('a process that is gone', () => {
  it('is waited for, not answered with 423, once it has missed renewals; its place is had when its lease expires', async () => {
    const { a, b } = useProcesses()
    ask(a, 'append')
    await settle()
    a.connection.away = true
    await pass(2.5 * RENEW_MS - 1)
    const early = ask(b, 'append', actor(), false)
    await settle()
    expect(early.error).toMatchObject({ status: 423 })
    await pass(1)
    const late = ask(b, 'append', actor(), false)
    await pass(TTL_MS - 2.5 * RENEW_MS - 1)
    expect([late.has(), late.error]).toEqual([false, null])
    await pass(1_000 + LONGEST_PAUSE_MS)
    expect(late.has()).toBe(true)
  })

  it('and comes back is answered with 423 again to one that will not wait', async () => {
    const { a, b } = useProcesses()
    const held = ask(a, 'append')
    await settle()
    a.connection.away = true
    await pass(6_000)
    const other = ask(b, 'append', actor(), false)
    await settle()
    expect(other.error).toBeNull()
    a.connection.away = false
    await pass(2_000 + LONGEST_PAUSE_MS)
    expect(other.error).toMatchObject({ status: 423 })
    expect(held.hold?.held()).toBe(true)
  })
})

describe('a lease that may have expired', () => {
  it('is no longer held from a margin before that on, and its holder is told to yield, once', async () => {
    const { a } = useProcesses()
    const holder = actor()
    const held = ask(a, 0, holder)
    await settle()
    a.connection.away = true
    await pass(TTL_MS - MARGIN_MS - 1)
    expect([holder.yields, held.hold?.held()]).toEqual([0, true])
    await pass(1)
    expect([holder.yields, held.hold?.held()]).toEqual([1, false])
    await pass(TTL_MS)
    expect(holder.yields).toBe(1)
  })

  it('is not held again when the database is back', async () => {
    const { a } = useProcesses()
    const held = ask(a, 0)
    await settle()
    a.connection.away = true
    await pass(TTL_MS - MARGIN_MS)
    a.connection.away = false
    await pass(2 * RENEW_MS)
    expect(held.hold?.held()).toBe(false)
  })

  it('is noticed without a timer, where the whole process stood still', async () => {
    const { a } = useProcesses()
    const holder = actor()
    const held = ask(a, 0, holder)
    await settle()
    // The clock goes on, timers do not.
    vi.setSystemTime(Date.now() + TTL_MS)
    const before = performance.now.bind(performance)
    const later = vi.spyOn(performance, 'now').mockImplementation(() => before() + TTL_MS)
    expect([held.hold?.held(), holder.yields]).toEqual([false, 1])
    later.mockRestore()
  })

  it('and was taken elsewhere is lost with the next renewal', async () => {
    const { a, b } = useProcesses()
    const holder = actor()
    const held = ask(a, 0, holder)
    await settle()
    // The database's clock runs away: for it the lease has expired, by ours it has not.
    vi.setSystemTime(Date.now() + TTL_MS)
    const other = ask(b, 0)
    await settle()
    expect([other.has(), held.hold?.held()]).toEqual([true, true])
    await pass(RENEW_MS)
    expect([held.hold?.held(), holder.yields]).toEqual([false, 1])
    expect(other.hold?.held()).toBe(true)
  })
})

describe('a release', () => {
  it('that the database does not hear of is none the less one, and the next one here has the place', async () => {
    const { a, b } = useProcesses()
    const held = ask(a, 0)
    await settle()
    a.connection.away = true
    await held.hold?.release()
    expect(held.hold?.held()).toBe(false)
    a.connection.away = false
    const next = ask(a, 0, actor(), false)
    await settle()
    expect(next.has()).toBe(true)
    await next.hold?.release()
    const elsewhere = ask(b, 0, actor(), false)
    await settle()
    expect(elsewhere.has()).toBe(true)
  })

  it('ends the renewals of a lease that the database still has: others get it when it expires', async () => {
    const { a, b } = useProcesses()
    const held = ask(a, 0)
    await settle()
    a.connection.away = true
    await held.hold?.release()
    a.connection.away = false
    ask(a, 1)
    const next = ask(b, 0)
    await pass(TTL_MS + 1_000 + LONGEST_PAUSE_MS)
    expect(next.has()).toBe(true)
  })

  it('lets nothing behind, neither a row nor a timer, however often it comes', async () => {
    const { a, size } = useProcesses()
    const held = [ask(a, 0), ask(a, 1), ask(a, 'append')]
    await settle()
    expect([size(), vi.getTimerCount()]).toEqual([3, 1])
    for (const { hold } of [...held, ...held]) await hold?.release()
    expect([size(), vi.getTimerCount()]).toEqual([0, 0])
  })
})

describe('busy', () => {
  it('is an upload with a healthy writer, here or elsewhere', async () => {
    const { a, b } = useProcesses()
    const holder = actor()
    ask(a, 4, holder)
    await settle()
    expect([await a.locker.busy('u'), await b.locker.busy('u'), await b.locker.busy('v')]).toEqual([
      true,
      true,
      false,
    ])
    holder.isIdle = true
    await pass(LOOK_MS)
    expect([await a.locker.busy('u'), await b.locker.busy('u')]).toEqual([false, false])
  })

  it('is none that is only being finished or reaped', async () => {
    const { a, b } = useProcesses()
    ask(a, 'finish')
    ask(a, 'reap')
    await settle()
    expect(await b.locker.busy('u')).toBe(false)
  })

  it('is no upload any more whose process is gone', async () => {
    const { a, b } = useProcesses()
    ask(a, 4)
    await settle()
    a.connection.away = true
    await pass(TTL_MS)
    expect(await b.locker.busy('u')).toBe(false)
  })
})

describe('drain', () => {
  it('makes writers of every process give way, healthy ones too, and resolves when the last has gone', async () => {
    const { a, b } = useProcesses()
    const [near, far] = [actor(), actor()]
    const here = ask(a, 0, near)
    const there = ask(b, 'append', far)
    await settle()
    const drained = watch(a.locker.drain('u'))
    await pass(RENEW_MS + LOOK_MS)
    expect([near.yields, far.yields]).toEqual([1, 1])
    await here.hold?.release()
    await pass(LONGEST_PAUSE_MS)
    expect(drained.done).toBe(false)
    await there.hold?.release()
    await pass(LONGEST_PAUSE_MS)
    expect(drained.done).toBe(true)
  })

  it('does not wait for those who finish or reap, nor for writers of another upload', async () => {
    const { a, b } = useProcesses()
    ask(b, 'finish')
    ask(b, 'reap')
    ask(b, 0, actor(), true, 'v')
    await settle()
    const drained = watch(a.locker.drain('u'))
    await settle()
    expect(drained.done).toBe(true)
  })

  it('waits for a dead process until its leases expire, and makes them void', async () => {
    const { a, b, size } = useProcesses()
    const held = ask(b, 0)
    await settle()
    b.connection.away = true
    const drained = watch(a.locker.drain('u'))
    await pass(TTL_MS - LONGEST_PAUSE_MS)
    expect(drained.done).toBe(false)
    await pass(2 * LONGEST_PAUSE_MS)
    expect([drained.done, size()]).toEqual([true, 0])
    b.connection.away = false
    await pass(RENEW_MS)
    expect(held.hold?.held()).toBe(false)
  })

  it('makes those give up that wait here for a writer elsewhere', async () => {
    const { a, b } = useProcesses()
    const held = ask(b, 0)
    await settle()
    const waiting = ask(a, 0)
    await settle()
    const drained = watch(a.locker.drain('u'))
    await pass(LONGEST_PAUSE_MS)
    expect(waiting.error).toMatchObject({ status: 423 })
    await held.hold?.release()
    await pass(LONGEST_PAUSE_MS)
    expect(drained.done).toBe(true)
  })

  it('gives up with 423 on a writer that never goes', async () => {
    const { a, b } = useProcesses()
    ask(b, 0)
    await settle()
    let error: unknown
    a.locker.drain('u').catch((reason: unknown) => (error = reason))
    await pass(PATIENCE_MS + LONGEST_PAUSE_MS)
    expect(error).toMatchObject({ status: 423 })
  })
})

import { describe, expect, it, vi } from 'vitest'
import { actor } from '../support/holder.ts'
import {
  ask,
  createProcesses,
  LONGEST_PAUSE_MS,
  LOOK_MS,
  MARGIN_MS,
  PATIENCE_MS,
  RENEW_MS,
  TTL_MS,
} from '../support/lease-lockers.ts'
import { useFakeTimers } from '../support/timers.ts'

/** Whether a promise has been kept by now. */
const watch = (promise: Promise<unknown>) => {
  const watched = { done: false }
  void promise.then(() => (watched.done = true))
  return watched
}

const { pass, settle } = useFakeTimers()

describe('a lease that may have expired', () => {
  it('is no longer held from a margin before that on, and its holder is told to yield, once', async () => {
    const { a } = createProcesses()
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
    const { a } = createProcesses()
    const held = ask(a, 0)
    await settle()
    a.connection.away = true
    await pass(TTL_MS - MARGIN_MS)
    a.connection.away = false
    await pass(2 * RENEW_MS)
    expect(held.hold?.held()).toBe(false)
  })

  it('is noticed without a timer, where the whole process stood still', async () => {
    const { a } = createProcesses()
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
    const { a, b } = createProcesses()
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
    const { a, b } = createProcesses()
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
    const { a, b } = createProcesses()
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
    const { a, size } = createProcesses()
    const held = [ask(a, 0), ask(a, 1), ask(a, 'append')]
    await settle()
    expect([size(), vi.getTimerCount()]).toEqual([3, 1])
    for (const { hold } of [...held, ...held]) await hold?.release()
    expect([size(), vi.getTimerCount()]).toEqual([0, 0])
  })
})

describe('busy', () => {
  it('is an upload with a healthy writer, here or elsewhere', async () => {
    const { a, b } = createProcesses()
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
    const { a, b } = createProcesses()
    ask(a, 'finish')
    ask(a, 'reap')
    await settle()
    expect(await b.locker.busy('u')).toBe(false)
  })

  it('is no upload any more whose process is gone', async () => {
    const { a, b } = createProcesses()
    ask(a, 4)
    await settle()
    a.connection.away = true
    await pass(TTL_MS)
    expect(await b.locker.busy('u')).toBe(false)
  })
})

describe('drain', () => {
  it('makes writers of every process give way, healthy ones too, and resolves when the last has gone', async () => {
    const { a, b } = createProcesses()
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
    const { a, b } = createProcesses()
    ask(b, 'finish')
    ask(b, 'reap')
    ask(b, 0, actor(), true, 'v')
    await settle()
    const drained = watch(a.locker.drain('u'))
    await settle()
    expect(drained.done).toBe(true)
  })

  it('waits for a dead process until its leases expire, and makes them void', async () => {
    const { a, b, size } = createProcesses()
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
    const { a, b } = createProcesses()
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
    const { a, b } = createProcesses()
    ask(b, 0)
    await settle()
    let error: unknown
    a.locker.drain('u').catch((reason: unknown) => (error = reason))
    await pass(PATIENCE_MS + LONGEST_PAUSE_MS)
    expect(error).toMatchObject({ status: 423 })
  })
})

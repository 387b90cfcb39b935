import { describe, expect, it, vi } from 'vitest'
import { createLocker } from '../../src/admission/locker.ts'
import type { Holder } from '../../src/core/ports/locker.ts'
import { actor } from '../support/holder.ts'
import { useFakeTimers } from '../support/timers.ts'

const PATIENCE_MS = 30_000
const LOOK_MS = 500

type Locker = ReturnType<typeof createLocker>

/** Asks for a place and remembers what came of it, so that a test can look without waiting. */
function ask(locker: Locker, id: string, place: number | 'append', holder: Holder = actor(), wait = true) {
  const asked = { release: () => {}, has: false, error: null as unknown }
  locker.acquire(id, place, holder, wait).then(
    (hold) => Object.assign(asked, { release: () => void hold.release(), has: true }),
    (error: unknown) => Object.assign(asked, { error }),
  )
  return asked
}

const { pass, settle } = useFakeTimers()

const newLocker = () => createLocker({ patienceMs: PATIENCE_MS, lookMs: LOOK_MS })

describe('writers of one place', () => {
  it('have it one at a time, in the order in which they came', async () => {
    const locker = newLocker()
    const asked = [1, 2, 3].map(() => ask(locker, 'u', 0))
    await settle()
    expect(asked.map(({ has }) => has)).toEqual([true, false, false])
    asked[0]?.release()
    await settle()
    expect(asked.map(({ has }) => has)).toEqual([true, true, false])
    asked[1]?.release()
    await settle()
    expect(asked.map(({ has }) => has)).toEqual([true, true, true])
  })

  it('that release twice let one writer in, not two', async () => {
    const locker = newLocker()
    const asked = [1, 2, 3].map(() => ask(locker, 'u', 0))
    await settle()
    asked[0]?.release()
    asked[0]?.release()
    await settle()
    expect(asked.map(({ has }) => has)).toEqual([true, true, false])
  })

  it('that came back do not lose the place by an old release', async () => {
    const locker = newLocker()
    const first = ask(locker, 'u', 0)
    await settle()
    first.release()
    const second = ask(locker, 'u', 0)
    await settle()
    first.release()
    const third = ask(locker, 'u', 0)
    await settle()
    expect([second.has, third.has]).toEqual([true, false])
  })
})

describe('writers of different places', () => {
  it('do not wait for each other: other cells, the append, the same cell of another upload', async () => {
    const locker = newLocker()
    const asked = [
      ask(locker, 'u', 0),
      ask(locker, 'u', 1),
      ask(locker, 'u', 'append'),
      ask(locker, 'v', 0),
      ask(locker, 'v', 'append'),
    ]
    await settle()
    expect(asked.map(({ has }) => has)).toEqual([true, true, true, true, true])
  })

  it('do not free each other either', async () => {
    const locker = newLocker()
    const other = ask(locker, 'u', 1)
    ask(locker, 'u', 0)
    const waiting = ask(locker, 'u', 0)
    await settle()
    other.release()
    await settle()
    expect(waiting.has).toBe(false)
  })
})

describe('a writer that will not wait', () => {
  it('is refused with 423 at once while the holder is healthy, which goes on undisturbed', async () => {
    const locker = newLocker()
    const holder = actor()
    const held = ask(locker, 'u', 'append', holder)
    const refused = ask(locker, 'u', 'append', actor(), false)
    await settle()
    expect(refused.error).toMatchObject({ status: 423, headers: { 'Retry-After': expect.any(String) } })
    expect(holder.yields).toBe(0)
    held.release()
    const next = ask(locker, 'u', 'append', actor(), false)
    await settle()
    expect(next.has).toBe(true)
  })

  it('makes an idle holder give way and has the place once that is done, not before', async () => {
    const locker = newLocker()
    const holder = actor({ idle: true })
    const held = ask(locker, 'u', 'append', holder)
    const next = ask(locker, 'u', 'append', actor(), false)
    await settle()
    expect(holder.yields).toBe(1)
    expect([next.has, next.error]).toEqual([false, null])
    held.release()
    await settle()
    expect(next.has).toBe(true)
  })
})

describe('a writer that waits', () => {
  it('leaves a healthy holder in peace', async () => {
    const locker = newLocker()
    const holder = actor()
    ask(locker, 'u', 0, holder)
    ask(locker, 'u', 0)
    await pass(PATIENCE_MS - 1)
    expect(holder.yields).toBe(0)
  })

  it('makes a holder give way that goes idle later', async () => {
    const locker = newLocker()
    const holder = actor()
    const held = ask(locker, 'u', 0, holder)
    const next = ask(locker, 'u', 0)
    holder.onYield = () => held.release()
    await pass(LOOK_MS * 3)
    expect([holder.yields, next.has]).toEqual([0, false])
    holder.isIdle = true
    await pass(LOOK_MS)
    expect([holder.yields, next.has]).toEqual([1, true])
  })

  it('has the same done for it when the one before it in the queue goes idle as the holder', async () => {
    const locker = newLocker()
    const second = actor()
    const held = ask(locker, 'u', 0)
    const middle = ask(locker, 'u', 0, second)
    const last = ask(locker, 'u', 0)
    await settle()
    held.release()
    await settle()
    second.onYield = () => middle.release()
    second.isIdle = true
    await pass(LOOK_MS)
    expect([second.yields, last.has]).toEqual([1, true])
  })

  it('does not make an idle holder of another place give way, for whom nobody waits', async () => {
    const locker = newLocker()
    const elsewhere = actor({ idle: true })
    ask(locker, 'u', 1, elsewhere)
    ask(locker, 'u', 0)
    ask(locker, 'u', 0)
    await pass(LOOK_MS * 3)
    expect(elsewhere.yields).toBe(0)
  })

  it('gives up with 423 when its patience ends, and those behind it keep their turn', async () => {
    const locker = newLocker()
    const held = ask(locker, 'u', 0)
    const first = ask(locker, 'u', 0)
    await pass(PATIENCE_MS / 2)
    const second = ask(locker, 'u', 0)
    const third = ask(locker, 'u', 0)
    await pass(PATIENCE_MS / 2 - 1)
    expect(first.error).toBeNull()
    await pass(1)
    expect(first.error).toMatchObject({ status: 423, headers: { 'Retry-After': expect.any(String) } })
    held.release()
    await settle()
    expect([first.has, second.has, third.has]).toEqual([false, true, false])
    second.release()
    await settle()
    expect(third.has).toBe(true)
    await pass(PATIENCE_MS * 2)
    expect([second.error, third.error]).toEqual([null, null])
  })

  it('is not the wrong one to give up when one in the middle of the queue has had its turn', async () => {
    const locker = newLocker()
    const asked = []
    for (let i = 0; i < 4; i++) {
      asked.push(ask(locker, 'u', 0))
      await pass(PATIENCE_MS / 10)
    }
    asked[0]?.release()
    await pass(PATIENCE_MS * 0.81)
    expect(asked.map(({ error }) => error !== null)).toEqual([false, false, true, false])
    asked[1]?.release()
    await settle()
    expect(asked.map(({ has }) => has)).toEqual([true, true, false, true])
  })
})

describe('timers', () => {
  it('are none while nobody waits, however many hold places', async () => {
    const locker = newLocker()
    for (let cell = 0; cell < 10; cell++) ask(locker, 'u', cell)
    await settle()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('are gone when the last waiter has had its turn', async () => {
    const locker = newLocker()
    const [held, next] = [ask(locker, 'u', 0), ask(locker, 'u', 0)]
    await settle()
    expect(vi.getTimerCount()).toBeGreaterThan(0)
    held.release()
    await settle()
    expect(next.has).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('are gone when the last waiter has given up', async () => {
    const locker = newLocker()
    ask(locker, 'u', 0)
    const next = ask(locker, 'u', 0)
    await pass(PATIENCE_MS)
    expect(next.error).not.toBeNull()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('look on while one waits, though another one, of another place, has had its turn', async () => {
    const locker = newLocker()
    const holder = actor()
    const other = ask(locker, 'u', 1)
    ask(locker, 'u', 1)
    ask(locker, 'u', 0, holder)
    ask(locker, 'u', 0)
    await settle()
    other.release()
    holder.isIdle = true
    await pass(LOOK_MS)
    expect(holder.yields).toBe(1)
  })

  it('that refuse a writer at once leave none behind', async () => {
    const locker = newLocker()
    ask(locker, 'u', 0)
    ask(locker, 'u', 0, actor(), false)
    await settle()
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('drain', () => {
  /** Whether a promise has been kept by now. */
  const watch = (promise: Promise<void>) => {
    const watched = { done: false }
    void promise.then(() => (watched.done = true))
    return watched
  }

  it('makes every writer of the upload give way, healthy ones and waiting ones, and none of another', async () => {
    const locker = newLocker()
    const holders = [0, 1, 'append' as const].map((place) => {
      const holder = actor()
      ask(locker, 'u', place, holder)
      return holder
    })
    const waiting = actor()
    ask(locker, 'u', 0, waiting)
    const stranger = actor()
    ask(locker, 'v', 0, stranger)
    await settle()
    void locker.drain('u')
    await settle()
    expect([...holders, waiting].map(({ yields }) => yields)).toEqual([1, 1, 1, 1])
    expect(stranger.yields).toBe(0)
  })

  it('resolves when the last of them is gone, those that waited included, and not before', async () => {
    const locker = newLocker()
    const [cell, append] = [ask(locker, 'u', 0), ask(locker, 'u', 'append')]
    const waiting = ask(locker, 'u', 0)
    await settle()
    const drained = watch(locker.drain('u'))
    append.release()
    await settle()
    expect(drained.done).toBe(false)
    cell.release()
    await settle()
    expect([waiting.has, drained.done]).toEqual([true, false])
    waiting.release()
    await settle()
    expect(drained.done).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('resolves at once where nobody writes', async () => {
    const drained = watch(newLocker().drain('u'))
    await settle()
    expect(drained.done).toBe(true)
  })

  it('leaves every place free', async () => {
    const locker = newLocker()
    const held = ask(locker, 'u', 0)
    await settle()
    const drained = locker.drain('u')
    held.release()
    await drained
    const next = ask(locker, 'u', 0, actor(), false)
    await settle()
    expect(next.has).toBe(true)
  })
})

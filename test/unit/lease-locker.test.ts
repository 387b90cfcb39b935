import { describe, expect, it } from 'vitest'
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

const { pass, settle } = useFakeTimers()

describe('a place', () => {
  it('that is held here is refused elsewhere, with 423 at once to one that will not wait', async () => {
    const { a, b } = createProcesses()
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
    const { a, b } = createProcesses()
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
    const { a, b } = createProcesses()
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
    const { a } = createProcesses()
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
    const { a, b } = createProcesses()
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
    const { a } = createProcesses()
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
    const { a, b } = createProcesses()
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
    const { a } = createProcesses()
    const held = Array.from({ length: 100 }, (_, cell) => ask(a, cell))
    await pass(4 * RENEW_MS)
    expect(a.connection.renewals).toBe(4)
    expect(held.every(({ hold }) => hold?.held())).toBe(true)
  })

  it('outlives renewals that fail, as long as one succeeds in time', async () => {
    const { a, b } = createProcesses()
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
      const { a, b } = createProcesses()
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
    const { a } = createProcesses()
    const holder = actor({ idle: true })
    ask(a, 'append', holder)
    await pass(10 * TTL_MS)
    expect(holder.yields).toBe(0)
  })

  it('that goes on before anybody asks is healthy again', async () => {
    const { a, b } = createProcesses()
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
    const { a, b } = createProcesses()
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
    const { a, b } = createProcesses()
    const holder = actor({ idle: true })
    ask(a, 0, holder)
    await pass(LOOK_MS)
    ask(b, 0)
    await pass(10_000)
    expect(holder.yields).toBe(1)
  })

  it('gives way within its process as well', async () => {
    const { a } = createProcesses()
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
    const { a, b } = createProcesses()
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
    const { a, b } = createProcesses()
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

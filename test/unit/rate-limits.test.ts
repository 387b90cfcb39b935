import { describe, expect, it } from 'vitest'
import { createGuessLimit, createRequestLimit } from '../../src/admission/rate-limits.ts'
import { createWindows } from '../../src/admission/windows.ts'

/** A clock that the test sets. */
const clockAt = (start: number) => {
  const clock = { ms: start, now: () => clock.ms }
  return clock
}

describe('windows', () => {
  it('of a key hold their value until they end, and begin anew then', () => {
    const clock = clockAt(1000)
    const windowOf = createWindows(() => ({ count: 0 }), { lengthMs: 60, now: clock.now })
    windowOf('a').count = 7
    clock.ms = 1059
    expect(windowOf('a').count).toBe(7)
    clock.ms = 1060
    expect(windowOf('a').count).toBe(0)
  })

  it('of another key have another value', () => {
    const windowOf = createWindows(() => ({ count: 0 }))
    windowOf('a').count = 7
    expect(windowOf('b').count).toBe(0)
    expect(windowOf('a').count).toBe(7)
  })

  it('past maxKeys replace the oldest, and no other', () => {
    const windowOf = createWindows(() => ({ count: 0 }), { maxKeys: 3 })
    for (const key of ['a', 'b', 'c', 'd']) windowOf(key).count = 1
    expect(windowOf('b').count).toBe(1)
    expect(windowOf('d').count).toBe(1)
    expect(windowOf('a').count).toBe(0)
    expect(windowOf('b').count).toBe(0)
  })

  it('that are over make room before any that is not', () => {
    const clock = clockAt(0)
    const windowOf = createWindows(() => ({ count: 0 }), { maxKeys: 3, lengthMs: 10, now: clock.now })
    windowOf('old').count = 1
    windowOf('older').count = 1
    clock.ms = 9
    windowOf('young').count = 1
    clock.ms = 10
    windowOf('new').count = 1
    windowOf('newer').count = 1
    expect(windowOf('young').count).toBe(1)
  })

  it('of a million keys in one minute take the memory of maxKeys', () => {
    const windowOf = createWindows(() => ({ count: 0 }), { maxKeys: 100 })
    const first = windowOf('0')
    for (let key = 1; key < 1_000_000; key++) windowOf(String(key))
    expect(windowOf('0')).not.toBe(first)
    expect(windowOf('999999')).toBe(windowOf('999999'))
  })
})

describe('a limit of requests', () => {
  it('lets so many pass in a minute, and as many in the next', () => {
    const clock = clockAt(0)
    const mayRequest = createRequestLimit(3, { now: clock.now })
    const ten = () => Array.from({ length: 10 }, () => mayRequest('a')).filter(Boolean).length
    expect(ten()).toBe(3)
    clock.ms = 59_999
    expect(ten()).toBe(0)
    clock.ms = 60_000
    expect(ten()).toBe(3)
    expect(mayRequest('b')).toBe(true)
  })

  it('of 0 is none', () => {
    const mayRequest = createRequestLimit(0)
    expect(Array.from({ length: 10_000 }, () => mayRequest('a')).every(Boolean)).toBe(true)
  })
})

describe('a limit of guesses', () => {
  it('counts different ones from one address in a minute', () => {
    const clock = clockAt(0)
    const mayGuess = createGuessLimit(2, { now: clock.now })
    expect(['x', 'x', 'y', 'z', 'x'].map((guess) => mayGuess('home', guess))).toEqual([
      true,
      true,
      true,
      false,
      true,
    ])
    expect(mayGuess('elsewhere', 'z')).toBe(true)
    clock.ms = 60_000
    expect(mayGuess('home', 'z')).toBe(true)
  })
})

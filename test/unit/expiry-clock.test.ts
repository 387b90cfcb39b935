import { expect, it } from 'vitest'
import { createExpiryClock } from '../../src/core/expiry-clock.ts'

const SECOND = 1000
const HOUR = 3600 * SECOND
const DAY = 24 * HOUR
const START = Date.parse('2030-01-01T00:00:00Z')

/** An expiry clock that forgives for a day, on clocks of its own. */
function clock() {
  let [wall, steady] = [START, 12_345]
  const now = createExpiryClock({ wallMs: () => wall, steadyMs: () => steady }, DAY)
  return {
    /** how far the clock is behind the wall's */
    behind: () => wall - now().getTime(),
    pass(ms: number) {
      wall += ms
      steady += ms
    },
    set(byMs: number) {
      wall += byMs
    },
  }
}

it('is the clock on the wall as long as nobody sets that', () => {
  const { behind, pass } = clock()
  for (const ms of [0, 1, HOUR, 100 * DAY]) {
    pass(ms)
    expect(behind()).toBe(0)
  }
})

it('stays behind a jump ahead for as long as an upload lives, and catches up then', () => {
  const { behind, pass, set } = clock()
  set(10 * DAY)
  expect(behind()).toBe(10 * DAY)
  pass(DAY - 1)
  expect(behind()).toBe(10 * DAY)
  pass(1)
  expect(behind()).toBe(0)
})

it('adds up jumps, and forgives each for its own time', () => {
  const { behind, pass, set } = clock()
  set(DAY)
  expect(behind()).toBe(DAY)
  pass(HOUR)
  set(2 * DAY)
  expect(behind()).toBe(3 * DAY)
  pass(DAY - HOUR)
  expect(behind()).toBe(2 * DAY)
  pass(HOUR)
  expect(behind()).toBe(0)
})

it('goes back with the wall, and is behind again when that is put right', () => {
  const { behind, set } = clock()
  set(-DAY)
  expect(behind()).toBe(0)
  set(DAY)
  expect(behind()).toBe(DAY)
})

it('follows a clock that is set by little, or drifts', () => {
  const { behind, pass, set } = clock()
  for (let hour = 0; hour < 100; hour++) {
    pass(HOUR)
    set(59 * SECOND)
    expect(behind()).toBe(0)
  }
})

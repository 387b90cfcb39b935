import { expect, test } from 'vitest'
import { createRestarts } from '../../src/process/restarts.ts'

test('a worker that was up for long gets its successor at once', () => {
  expect(createRestarts(2).died(60_000, true)).toEqual({ giveUp: false, pauseMs: 0 })
})

test('workers that die at once come later and later, up to ten seconds, and for as long as another serves', () => {
  const restarts = createRestarts(2)
  const pauses = Array.from({ length: 40 }, () => restarts.died(null, true))
  expect(pauses.slice(0, 4)).toEqual([100, 200, 400, 800].map((pauseMs) => ({ giveUp: false, pauseMs })))
  expect(pauses.at(-1)).toEqual({ giveUp: false, pauseMs: 10_000 })
})

test('one that lasted ends the backing off', () => {
  const restarts = createRestarts(2)
  restarts.died(5, true)
  restarts.died(5, true)
  restarts.died(10_000, true)
  expect(restarts.died(5, true)).toEqual({ giveUp: false, pauseMs: 100 })
})

test('where nobody serves it is given up after three tries more than there are workers', () => {
  const restarts = createRestarts(2)
  for (let deaths = 1; deaths < 5; deaths++) expect(restarts.died(null, false).giveUp).toBe(false)
  expect(restarts.died(null, false)).toEqual({ giveUp: true })
})

test('one that gets up is hope for all, and dying once up is no reason to give up', () => {
  const restarts = createRestarts(1)
  for (let deaths = 0; deaths < 3; deaths++) restarts.died(null, false)
  restarts.gotUp()
  expect(restarts.died(null, false).giveUp).toBe(false)
  for (let deaths = 0; deaths < 20; deaths++) {
    restarts.gotUp()
    expect(restarts.died(1, false).giveUp).toBe(false)
  }
})

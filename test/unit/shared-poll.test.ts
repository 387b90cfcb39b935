import { expect, test } from 'vitest'
import { sharedPoll } from '../../src/uploads/shared-poll.ts'
import { eventually } from '../support/slow-request.ts'

const EVERY_MS = 5

/** A watcher that notes what it is told; null for the end. */
function note() {
  const told: (number | null)[] = []
  return { told, see: (value: number) => void told.push(value), end: () => void told.push(null) }
}

test('ten who watch the same cost as many looks as one, and see the same', async () => {
  let looks = 0
  const poll = sharedPoll<number>(async () => Math.min((looks += 1), 3), EVERY_MS)
  const watchers = Array.from({ length: 10 }, note)
  const leave = watchers.map((watcher) => poll.watch('a', watcher))
  await eventually(() => looks >= 5, 'it is looked at')
  leave.forEach((each) => each())
  for (const { told } of watchers) expect(told).toEqual([1, 2, 3])
})

test('who comes later is told what is there', async () => {
  const poll = sharedPoll<number>(async () => 7, EVERY_MS)
  const [first, second] = [note(), note()]
  const leaveFirst = poll.watch('a', first)
  await eventually(() => first.told.length > 0, 'the first is told')
  const leaveSecond = poll.watch('a', second)
  expect(second.told).toEqual([7])
  leaveFirst()
  leaveSecond()
})

test('once nobody watches, nothing is looked at, and who comes again begins anew', async () => {
  let looks = 0
  const poll = sharedPoll<number>(async () => (looks += 1), EVERY_MS)
  const first = note()
  poll.watch('a', first)()
  await eventually(() => looks === 1, 'the look that was under way')
  await new Promise((resolve) => setTimeout(resolve, 10 * EVERY_MS))
  expect([looks, first.told]).toEqual([1, []])
  const second = note()
  const leave = poll.watch('a', second)
  await eventually(() => second.told.length > 0, 'the second is told')
  leave()
  expect(second.told[0]).toBe(2)
})

test('who leaves while they are told of a value hears no more', async () => {
  const poll = sharedPoll<number>(async (_, before) => (before ?? 0) + 1, EVERY_MS)
  const told: number[] = []
  const leave = poll.watch('a', {
    see(value) {
      told.push(value)
      leave()
    },
    end: () => told.push(-1),
  })
  await eventually(() => told.length > 0, 'it is told')
  await new Promise((resolve) => setTimeout(resolve, 10 * EVERY_MS))
  expect(told).toEqual([1])
})

test.each([
  ['is gone', async () => null],
  ['can not be looked at', () => Promise.reject(new Error('away'))],
])('everybody is sent away once, when what they watch %s', async (_, last) => {
  const poll = sharedPoll<number>(async (_key, before) => (before === null ? 1 : last()), EVERY_MS)
  const watchers = [note(), note()]
  for (const watcher of watchers) poll.watch('a', watcher)
  await eventually(() => watchers.every(({ told }) => told.includes(null)), 'they are sent away')
  for (const { told } of watchers) expect(told).toEqual([1, null])
})

test('after a look that took long there is none for nine times as long', async () => {
  let now = 0
  let looks = 0
  const look = async () => {
    now += 60_000
    return (looks += 1)
  }
  const poll = sharedPoll<number>(look, EVERY_MS, () => now)
  const leave = poll.watch('a', note())
  await eventually(() => looks > 0, 'it is looked at')
  await new Promise((resolve) => setTimeout(resolve, 10 * EVERY_MS))
  leave()
  expect(looks).toBe(1)
})

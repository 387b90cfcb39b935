import { expect, test } from 'vitest'
import { createLine } from '../../src/uploads/in-order.ts'

const tick = () => new Promise((resolve) => setImmediate(resolve))

/** Work that ends when it is told to. */
function work() {
  let finish: (result: string) => void = () => {}
  let fail: (error: Error) => void = () => {}
  const done = new Promise<string>((resolve, reject) => {
    finish = resolve
    fail = reject
  })
  return { done, finish, fail }
}

function lineOf(most: number, refused: string | null = null) {
  const told: string[] = []
  const line = createLine<string>({
    most,
    async settle(result) {
      if (result === refused) throw new Error(`${result} is refused`)
      told.push(`settled ${result}`)
    },
    failed: (error) => told.push(`failed: ${(error as Error).message}`),
    abandon: (result) => told.push(`abandoned ${result}`),
  })
  return { line, told }
}

test('what ends first is settled in its turn, and no sooner', async () => {
  const { line, told } = lineOf(3)
  const works = [work(), work(), work()]
  for (const { done } of works) await line.add(done)
  works[2]?.finish('c')
  works[1]?.finish('b')
  await tick()
  expect(told).toEqual([])
  works[0]?.finish('a')
  await line.end()
  expect(told).toEqual(['settled a', 'settled b', 'settled c'])
})

test('a line of none waits for each piece of work, a line of two lets two go on', async () => {
  for (const most of [0, 2]) {
    const { line } = lineOf(most)
    const works = [work(), work(), work()]
    let added = 0
    const adding = works.map(({ done }) => line.add(done).then(() => (added += 1)))
    await tick()
    expect(added).toBe(most)
    for (const { finish } of works) finish('x')
    await Promise.all(adding)
    expect(added).toBe(3)
  }
})

test.each(['work that fails', 'a result that is refused'])(
  'nothing behind %s is settled, and the end waits for what is under way',
  async (what) => {
    const { line, told } = lineOf(5, 'b')
    const works = [work(), work(), work(), work()]
    for (const { done } of works) await line.add(done)
    works[2]?.finish('c')
    works[0]?.finish('a')
    if (what === 'work that fails') works[1]?.fail(new Error('b is refused'))
    else works[1]?.finish('b')
    await tick()
    expect(told).toEqual(['settled a', 'failed: b is refused', 'abandoned c'])
    await expect(line.add(work().done)).rejects.toThrow('b is refused')
    let ended = false
    const end = line.end().finally(() => (ended = true))
    end.catch(() => {})
    await tick()
    expect(ended).toBe(false)
  },
)

test('of several failures the first in the line is told, and only that', async () => {
  const { line, told } = lineOf(5)
  const works = [work(), work()]
  for (const { done } of works) await line.add(done)
  works[1]?.fail(new Error('second'))
  await tick()
  works[0]?.fail(new Error('first'))
  await expect(line.end()).rejects.toThrow('first')
  expect(told).toEqual(['failed: first'])
})

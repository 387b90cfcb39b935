import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { oncePerTurn } from '../../src/uploads/once-per-turn.ts'

function useQuestion() {
  const put: string[] = []
  let state = 'old'
  const ask = oncePerTurn(async (id) => {
    put.push(id)
    return `${state} ${id}`
  })
  return { ask, put, change: (to: string) => (state = to) }
}

test('what is asked in one turn is put once for each id', async () => {
  const { ask, put } = useQuestion()
  expect(await Promise.all([ask('a'), ask('b'), ask('a')])).toEqual(['old a', 'old b', 'old a'])
  expect(put).toEqual(['a', 'b'])
})

test('an answer is no older than whoever asked last for it, and the next turn gets its own', async () => {
  const { ask, put, change } = useQuestion()
  const first = ask('a')
  await Promise.resolve()
  change('new')
  expect(await Promise.all([first, ask('a')])).toEqual(['new a', 'new a'])
  await turn()
  change('newer')
  expect(await ask('a')).toBe('newer a')
  expect(put).toEqual(['a', 'a'])
})

test('who asks while an answer is awaited does not get that one', async () => {
  const settle: ((value: string) => void)[] = []
  const ask = oncePerTurn(() => new Promise<string>((resolve) => settle.push(resolve)))
  const first = ask('a')
  await turn()
  const second = ask('a')
  await turn()
  settle[1]?.('new')
  settle[0]?.('old')
  expect(await Promise.all([first, second])).toEqual(['old', 'new'])
})

test('a failure is told to all who asked, and not remembered', async () => {
  let failures = 0
  const ask = oncePerTurn(async () => {
    failures += 1
    throw new Error(`failure ${failures}`)
  })
  const all = await Promise.allSettled([ask('a'), ask('a')])
  expect(all.map((one) => one.status === 'rejected' && String(one.reason))).toEqual([
    'Error: failure 1',
    'Error: failure 1',
  ])
  await expect(ask('a')).rejects.toThrow('failure 2')
})

import { setImmediate as settle } from 'node:timers/promises'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createWorkers, type Workers } from '../../src/admission/workers.ts'
import type { Turn } from '../../src/core/ports/body.ts'

const workersOf = (workerCount: number, maxFairInflightChunksPerUpload = 0) =>
  createWorkers({ workerCount, maxFairInflightChunksPerUpload })

/** The only worker is busy; what enters now waits, and `serve` gives turns one by one until nobody waits. */
function busyWorker() {
  const workers = workersOf(1)
  let writing = workers.turnsOf('blocker', 'blocker')
  void writing.enter()
  const served: string[] = []
  return {
    wait(owner: string, upload: string, name = `${owner}/${upload}`): void {
      const turn = workers.turnsOf(owner, upload)
      const free = turn.enter()
      if (!free) throw new Error('there was a free worker')
      void free.then(() => {
        served.push(name)
        writing = turn
      })
    },
    async serve(turns = workers.queued()): Promise<string[]> {
      served.length = 0
      for (let i = 0; i < turns; i++) {
        writing.leave()
        await settle()
      }
      return [...served]
    },
  }
}

describe('a write', () => {
  it('takes a free worker without a promise, and waits when all of them are busy', async () => {
    const workers = workersOf(2)
    const [a, b, c] = ['a', 'b', 'c'].map((upload) => workers.turnsOf(upload, upload)) as [Turn, Turn, Turn]
    expect(a.enter()).toBeUndefined()
    expect(b.enter()).toBeUndefined()
    const turn = c.enter()
    expect(turn).toBeInstanceOf(Promise)
    let entered = false
    void turn?.then(() => (entered = true))
    await settle()
    expect(entered).toBe(false)
    b.leave()
    await turn
    expect([workers.busy(), workers.queued()]).toEqual([2, 0])
    a.leave()
    expect(a.enter()).toBeUndefined()
  })

  it('of a small owner comes second, however many writes of a big one were there before it', async () => {
    const { wait, serve } = busyWorker()
    for (let i = 0; i < 5; i++) wait('big', 'x')
    wait('small', 'y')
    expect(await serve()).toEqual(['big/x', 'small/y', 'big/x', 'big/x', 'big/x', 'big/x'])
  })

  it('of any of three owners waits for one of each of the others at most', async () => {
    const { wait, serve } = busyWorker()
    for (const owner of ['a', 'b', 'c']) for (let i = 0; i < 3; i++) wait(owner, owner)
    expect(await serve()).toEqual(['a/a', 'b/b', 'c/c', 'a/a', 'b/b', 'c/c', 'a/a', 'b/b', 'c/c'])
  })

  it('of one upload takes turns with the other uploads of its owner, who has no more turns for them', async () => {
    const { wait, serve } = busyWorker()
    for (let i = 0; i < 3; i++) wait('a', 'x')
    wait('a', 'y')
    wait('a', 'z')
    for (let i = 0; i < 3; i++) wait('b', 'w')
    expect(await serve()).toEqual(['a/x', 'b/w', 'a/y', 'b/w', 'a/z', 'b/w', 'a/x', 'a/x'])
  })

  it('of an owner who was just served comes after those who have waited meanwhile', async () => {
    const { wait, serve } = busyWorker()
    wait('a', 'x')
    wait('b', 'y')
    expect(await serve(1)).toEqual(['a/x'])
    wait('a', 'x')
    wait('c', 'z')
    expect(await serve()).toEqual(['b/y', 'a/x', 'c/z'])
  })

  it('of one upload keeps its order', async () => {
    const { wait, serve } = busyWorker()
    for (const name of ['first', 'second', 'third']) wait('a', 'x', name)
    expect(await serve()).toEqual(['first', 'second', 'third'])
  })
})

describe('the share of one upload', () => {
  /** Writes of one upload: `served` tells, in order, whose writes run. */
  const enter = (workers: Workers, upload: string, count: number, served: string[]): Turn[] =>
    Array.from({ length: count }, () => {
      const turn = workers.turnsOf(`owner of ${upload}`, upload)
      const free = turn.enter()
      if (free) void free.then(() => served.push(upload))
      else served.push(upload)
      return turn
    })

  it('is every worker while nobody else waits', async () => {
    const workers = workersOf(4, 1)
    const served: string[] = []
    const [first] = enter(workers, 'big', 6, served)
    expect(served).toHaveLength(4)
    first?.leave()
    await settle()
    expect(served).toHaveLength(5)
    expect(workers.busy()).toBe(4)
  })

  it.each([
    [8, 3, 3],
    [8, 0, 4],
    [5, 0, 2],
    [1, 0, 1],
  ])(
    'of %i workers, where the most is set to %i, falls to %i once others wait',
    async (count, most, share) => {
      const workers = workersOf(count, most)
      const served: string[] = []
      const big = enter(workers, 'big', 50, served)
      for (let i = 0; i < count; i++) enter(workers, `small ${i}`, 1, served)
      for (const turn of big.slice(0, count - share)) turn.leave()
      await settle()
      expect(served.slice(count)).toEqual(Array.from({ length: count - share }, (_, i) => `small ${i}`))
    },
  )

  it('leaves no worker free: where all that wait have their share, they get more', async () => {
    const workers = workersOf(4, 1)
    const served: string[] = []
    const first = enter(workers, 'a', 3, served)
    enter(workers, 'b', 1, served)
    enter(workers, 'a', 2, served)
    enter(workers, 'b', 4, served)
    served.length = 0
    for (const [at, expected] of [['a'], ['a', 'b']].entries()) {
      first[at]?.leave()
      await settle()
      expect(served).toEqual(expected)
      expect(workers.busy()).toBe(4)
    }
  })
})

/** What a body does next; `body` is one of those that are in the right state for it. */
type Step = { owner: number; upload: number } | { body: number }

interface Writer {
  owner: string
  upload: string
  turn: Turn
  state: 'waiting' | 'writing' | 'done'
  /** turns given out while it waited and might have had them */
  passedOver: number
}

const OWNERS = 4
const UPLOADS = 3

describe('whatever bodies do', () => {
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ owner: fc.nat(OWNERS - 1), upload: fc.nat(UPLOADS - 1) }),
    fc.record({ body: fc.nat(1000) }),
  )

  it('workers are never too many nor free while a write waits, shares hold while others wait, and all are served', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.nat(4),
        fc.array(step, { maxLength: 120, size: 'max' }),
        async (workerCount, most, steps) => {
          const share = most || Math.max(1, Math.floor(workerCount / 2))
          const workers = workersOf(workerCount, most)
          const writers: Writer[] = []
          const inState = (state: Writer['state']) => writers.filter((writer) => writer.state === state)
          const writesOf = (upload: string) =>
            inState('writing').filter((writer) => writer.upload === upload).length

          const begin = ({ owner, upload }: { owner: number; upload: number }) => {
            const names = { owner: `${owner}`, upload: `${owner}/${upload}` }
            const turn = workers.turnsOf(names.owner, names.upload)
            const writer: Writer = { ...names, turn, state: 'writing', passedOver: 0 }
            const free = turn.enter()
            if (free) writer.state = 'waiting'
            void free?.then(() => (writer.state = 'writing'))
            writers.push(writer)
          }
          const end = async (writer: Writer) => {
            writer.state = 'done'
            const waiting = inState('waiting')
            // Of each upload only the first in its queue could be next.
            const heads = waiting.filter(
              ({ upload }, at) => waiting.findIndex((w) => w.upload === upload) === at,
            )
            const eligible = heads.filter(({ upload }) => writesOf(upload) < share)
            writer.turn.leave()
            await settle()
            const served = waiting.filter(({ state }) => state === 'writing')
            expect(served).toHaveLength(Math.min(1, waiting.length))
            expect(served.every((one) => heads.includes(one))).toBe(true)
            if (eligible.length > 0) expect(eligible).toContain(served[0])
            for (const other of eligible) if (other !== served[0]) other.passedOver += 1
          }
          const check = () => {
            expect(workers.busy()).toBe(inState('writing').length)
            expect(workers.queued()).toBe(inState('waiting').length)
            expect(workers.busy()).toBeLessThanOrEqual(workerCount)
            if (workers.queued() > 0) expect(workers.busy()).toBe(workerCount)
            for (const { passedOver } of writers) expect(passedOver).toBeLessThanOrEqual(OWNERS * UPLOADS)
          }

          for (const step of steps) {
            const writing = inState('writing')
            if ('owner' in step) begin(step)
            else if (writing.length > 0) await end(writing[step.body % writing.length] as Writer)
            check()
          }
          for (let writing = inState('writing'); writing.length > 0; writing = inState('writing')) {
            await end(writing[0] as Writer)
            check()
          }
          expect(inState('waiting')).toEqual([])
        },
      ),
      { seed: 20_261_124, numRuns: 300 },
    )
  })
})

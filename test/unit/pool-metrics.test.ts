import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { expect, test } from 'vitest'
import { mergeCounts, renderTogether, snapshotOf } from '../../src/observe/joined-metrics.ts'
import type { FromPrimary } from '../../src/process/pool-messages.ts'
import { createPoolMetrics, type Counting } from '../../src/process/pool-metrics.ts'

/** A worker that has counted so much, and has so many bodies open. */
async function countedBy(count: number, open: number): Promise<string> {
  const registers = [new Registry()]
  new Counter({ name: 'counted_total', help: 'c', labelNames: ['way'], registers }).inc(
    { way: 'lane' },
    count,
  )
  new Gauge({ name: 'open', help: 'o', registers }).set(open)
  new Gauge({ name: 'storage_free_bytes', help: 's', registers }).set(open === 0 ? Number.NaN : 7)
  new Histogram({ name: 'took', help: 't', buckets: [1, 2], registers }).observe(count)
  return snapshotOf(registers[0] as Registry)
}

interface Asked extends Counting {
  rounds: number[]
}

const worker = (answer: (round: number) => void = () => {}): Asked => {
  const rounds: number[] = []
  return {
    rounds,
    tell(message: FromPrimary) {
      if (message.type === 'metrics-asked') {
        rounds.push(message.round)
        answer(message.round)
      }
      return true
    },
  }
}

const poolOf = (workers: Set<Counting>) =>
  createPoolMetrics({ workers: () => workers, mergeCounts, patienceMs: 50 })

test('counters, histograms and loads are summed, and the room on the disk is not', async () => {
  const text = await renderTogether([await countedBy(1, 3), await countedBy(2, 4)])
  expect(text).toContain('counted_total{way="lane"} 3\n')
  expect(text).toContain('open 7\n')
  expect(text).toContain('storage_free_bytes 7\n')
  expect(text).toContain('took_bucket{le="1"} 1\n')
  expect(text).toContain('took_bucket{le="+Inf"} 2\n')
  expect(text).toContain('took_sum 3\n')
})

test('a value that is no number stays none on its way', async () => {
  expect(await renderTogether([await countedBy(1, 0)])).toMatch(/^storage_free_bytes nan$/im)
})

test('merged counts have no gauges, and add up to the same', async () => {
  const merged = await mergeCounts([await countedBy(1, 3), await countedBy(2, 4)])
  const text = await renderTogether([merged, await countedBy(4, 5)])
  expect(text).toContain('counted_total{way="lane"} 7\n')
  expect(text).toContain('took_sum 7\n')
  expect(text).toContain('open 5\n')
})

test('all who ask during a round get its answers', async () => {
  const snapshot = await countedBy(1, 1)
  const one: Asked = worker((round) => setImmediate(() => metrics.told(one, round, snapshot)))
  const metrics = poolOf(new Set([one]))
  expect(await Promise.all([metrics.gather(), metrics.gather()])).toEqual([[snapshot], [snapshot]])
  expect(one.rounds).toHaveLength(1)
  await metrics.gather()
  expect(one.rounds).toHaveLength(2)
})

test('what a worker told last stands for it once it is gone, and for several that are gone', async () => {
  const snapshots = await Promise.all([1, 2, 4].map((count) => countedBy(count, 1)))
  const workers = new Set<Counting>()
  for (const snapshot of snapshots) {
    const one: Counting = worker((round) => setImmediate(() => metrics.told(one, round, snapshot)))
    workers.add(one)
  }
  const metrics = poolOf(workers)
  await metrics.gather()
  for (const left of [...workers].slice(0, 2)) {
    workers.delete(left)
    metrics.left(left)
    const text = await renderTogether(await metrics.gather())
    expect(text).toContain('counted_total{way="lane"} 7\n')
    expect(text).toContain(`open ${workers.size}\n`)
  }
})

test('a worker that does not answer in time is counted by what it told before, and late words are for the next round', async () => {
  const [first, second] = [await countedBy(1, 1), await countedBy(2, 1)]
  const silent = worker()
  const metrics = poolOf(new Set([silent]))
  const round = metrics.gather()
  metrics.told(silent, 1, first)
  expect(await round).toEqual([first])
  expect(await renderTogether(await metrics.gather())).toContain('counted_total{way="lane"} 1\n')
  metrics.told(silent, 2, second)
  expect(await renderTogether(await metrics.gather())).toContain('counted_total{way="lane"} 2\n')
})

test('one that dies while it is asked is not waited for', async () => {
  const dying = worker()
  const workers = new Set<Counting>([dying])
  const metrics = createPoolMetrics({ workers: () => workers, mergeCounts, patienceMs: 3_600_000 })
  const round = metrics.gather()
  workers.delete(dying)
  metrics.left(dying)
  expect(await round).toEqual([])
})

import { expect, test } from 'vitest'
import { ConfigError, parseConfig } from '../../src/config/config.ts'
import { shareOf } from '../../src/config/share.ts'

test('a worker takes its part of what is set for all, rounded up, and the whole of what is about one upload or key', () => {
  const config = parseConfig({
    WEB_CONCURRENCY: '3',
    MAX_GLOBAL_INFLIGHT_CHUNKS: '128',
    WORKER_COUNT: '16',
    TASK_QUEUE_MAXSIZE: '2',
    DATABASE_POOL_SIZE: '10',
    AUTH_FAILURES_PER_MINUTE: '30',
    API_RATE_LIMIT_PER_MINUTE: '60',
  })
  expect(shareOf(config)).toEqual({
    ...config,
    maxGlobalInflightChunks: 43,
    workerCount: 6,
    taskQueueMaxsize: 1,
    databasePoolSize: 4,
    authFailuresPerMinute: 10,
  })
})

test('no limit stays none, and half of the workers stays half', () => {
  const config = parseConfig({ WEB_CONCURRENCY: '2', AUTH_FAILURES_PER_MINUTE: '0' })
  expect(shareOf(config)).toMatchObject({ authFailuresPerMinute: 0, maxFairInflightChunksPerUpload: 0 })
})

test('several processes at one port have leases by themselves, on either database', () => {
  for (const DATABASE_URL of [undefined, 'postgresql://user:secret@db/uploads'])
    expect(parseConfig({ WEB_CONCURRENCY: '2', DATABASE_URL })).toMatchObject({ leases: true })
  expect(parseConfig({ WEB_CONCURRENCY: '1' })).toMatchObject({ leases: false })
})

test('several processes without leases, or in a memory that they do not share, are refused and told why', () => {
  expect(() => parseConfig({ WEB_CONCURRENCY: '2', LEASES: 'off' })).toThrow(
    new ConfigError('LEASES must be auto or on with WEB_CONCURRENCY: its processes lease what they write to'),
  )
  expect(() => parseConfig({ WEB_CONCURRENCY: '2', DATABASE_URL: 'file::memory:' })).toThrow(
    /^DATABASE_URL must be a file with WEB_CONCURRENCY/,
  )
  expect(parseConfig({ LEASES: 'off' })).toMatchObject({ leases: false })
})

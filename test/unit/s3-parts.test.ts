import { describe, expect, it } from 'vitest'
import { HttpError } from '../../src/core/errors.ts'
import type { Turn } from '../../src/core/ports/body.ts'
import { atATime } from '../../src/stores/s3/at-a-time.ts'
import { failureOf, isTransient, storageError } from '../../src/stores/s3/errors.ts'
import { createMemory } from '../../src/stores/s3/memory.ts'
import { planPack } from '../../src/stores/s3/pack.ts'
import { keysUnder, newPieceName, parseRef, printRef, type Ref } from '../../src/stores/s3/refs.ts'
import { createRetry } from '../../src/stores/s3/retry.ts'

describe('a ref', () => {
  const refs: Ref[] = [
    { kind: 'part', etag: '"9a0364b9e99bb480dd25e1f0284c8555"' },
    { kind: 'object', etag: '"x y"' },
    { kind: 'staged', name: '12-345-AbC_-x' },
  ]

  it.each(refs)('of a $kind is read as it was written', (ref) => {
    expect(parseRef(printRef(ref))).toEqual(ref)
  })

  it.each([null, '', 'part', 'part ', 'file 7', 'parts "a"'])('is not what %j says', (text) => {
    expect(parseRef(text)).toBeNull()
  })
})

describe('the name of a piece', () => {
  it('is never the same twice, and needs no encoding in a URL', () => {
    const names = Array.from({ length: 1000 }, () => newPieceName(3, 5))
    expect(new Set(names)).toHaveLength(1000)
    for (const name of names) expect(name).toMatch(/^3-5-[\w-]{12}$/)
  })

  it('lies under the key of its upload alone', () => {
    const keys = keysUnder('a/')
    expect([keys.object('x'), keys.staged('x'), keys.piece('x', '1-2-z')]).toEqual([
      'a/x',
      'a/staged/x/',
      'a/staged/x/1-2-z',
    ])
  })
})

describe('planPack', () => {
  const shape = (sizes: number[], partBytes: number) =>
    planPack(
      sizes.map((bytes, i) => ({ key: 'abcdefgh'[i] ?? '', bytes })),
      partBytes,
    ).map(({ number, bytes, pieces }) => [
      number,
      bytes,
      pieces.map(({ source, range, at }) => `${source.key}[${range.start},${range.end})@${at}`).join(' '),
    ])

  it('puts small sources together and cuts large ones', () => {
    expect(shape([3, 3, 25], 10)).toEqual([
      [1, 10, 'a[0,3)@0 b[0,3)@3 c[0,4)@6'],
      [2, 10, 'c[4,14)@0'],
      [3, 10, 'c[14,24)@0'],
      [4, 1, 'c[24,25)@0'],
    ])
  })

  it('ends a part where a source ends, and passes over empty ones', () => {
    expect(shape([10, 0, 10], 10)).toEqual([
      [1, 10, 'a[0,10)@0'],
      [2, 10, 'c[0,10)@0'],
    ])
  })

  it('of nothing is nothing', () => {
    expect(shape([], 10)).toEqual([])
    expect(shape([0, 0], 10)).toEqual([])
  })
})

const answered = (status: number, name = 'Some') =>
  failureOf(Object.assign(new Error('told'), { name, $metadata: { httpStatusCode: status } }))

describe('a failure', () => {
  it.each([
    ['a server that stumbles', answered(500, 'InternalError')],
    ['a server that is busy', answered(503, 'SlowDown')],
    ['too many requests', answered(429, 'TooManyRequestsException')],
    ['a request that took too long on its way', answered(400, 'RequestTimeout')],
    ['bytes that were spoiled on the way', answered(400, 'XAmzContentSHA256Mismatch')],
    ['an answer that was cut short', answered(200, 'SyntaxError')],
    ['a connection that was reset', Object.assign(new Error(), { code: 'ECONNRESET' })],
    ['a connection that was refused', Object.assign(new Error(), { code: 'ECONNREFUSED' })],
    ['a silence', Object.assign(new Error(), { name: 'TimeoutError' })],
  ])('of %s is worth another try, and 503 to a client', (_what, error) => {
    expect(isTransient(error)).toBe(true)
    expect(storageError(error)).toMatchObject({ status: 503, headers: { 'Retry-After': '1' }, cause: error })
  })

  it.each([
    ['a right that is missing', answered(403, 'AccessDenied')],
    ['a bucket that is gone', answered(404, 'NoSuchBucket')],
    ['a clock that is wrong', answered(403, 'RequestTimeTooSkewed')],
    ['an engine that can not do it', answered(501, 'NotImplemented')],
    ['credentials that are not found', Object.assign(new Error(), { name: 'CredentialsProviderError' })],
  ])('of %s is not, but the operator may mend it: 503, and not a word of it', (_what, error) => {
    expect(isTransient(error)).toBe(false)
    const told = storageError(error) as HttpError
    expect([told.status, told.cause]).toEqual([503, error])
    expect(told.message).not.toContain('told')
  })

  it.each([answered(507, 'XMinioStorageFull'), answered(403, 'QuotaExceeded'), answered(507)])(
    'of room is 507 and no matter of trying again',
    (error) => {
      expect(isTransient(error)).toBe(false)
      expect(storageError(error)).toMatchObject({ status: 507, cause: error })
    },
  )

  it('of our own is passed on as it is', () => {
    const own = [new HttpError('locked'), new TypeError('a bug')]
    expect(own.map(storageError)).toEqual(own)
    expect(own.map(isTransient)).toEqual([false, false])
  })

  it('brings nothing of the request along', () => {
    const raw = Object.assign(new Error('no'), {
      name: 'AccessDenied',
      $metadata: { httpStatusCode: 403, requestId: 'r' },
      $response: { body: { req: { headers: { authorization: 'AWS4-HMAC-SHA256 …' } } } },
    })
    const { name, message, stack: _, ...rest } = failureOf(raw)
    expect([name, message, rest]).toEqual(['AccessDenied', 'no', { status: 403, requestId: 'r' }])
  })
})

describe('trying again', () => {
  const busy = answered(503, 'SlowDown')
  const setUp = (maxRetries: number, random = 1) => {
    const slept: number[] = []
    const counted: string[] = []
    const retry = createRetry({
      maxRetries,
      meter: { storeRetried: (operation) => counted.push(operation) },
      random: () => random,
      sleep: async (ms) => slept.push(ms),
    })
    return { retry, slept, counted }
  }
  const failing = (times: number, error: Error = busy) => {
    let calls = 0
    return { work: async () => (calls++ < times ? Promise.reject(error) : calls), calls: () => calls }
  }

  it('ends with the first success, and says how often it took', async () => {
    const { retry, counted } = setUp(3)
    const effort = { retries: 0 }
    expect(await retry.run('PutObject', failing(2).work, effort)).toBe(3)
    expect([effort.retries, counted]).toEqual([2, ['PutObject', 'PutObject']])
  })

  it('ends after so many tries', async () => {
    const { retry } = setUp(3)
    const { work, calls } = failing(99)
    await expect(retry.run('PutObject', work)).rejects.toBe(busy)
    expect(calls()).toBe(4)
  })

  it('does not begin where it makes no sense', async () => {
    const { retry, slept } = setUp(3)
    const denied = answered(403, 'AccessDenied')
    const { work, calls } = failing(99, denied)
    await expect(retry.run('PutObject', work)).rejects.toBe(denied)
    expect([calls(), slept]).toEqual([1, []])
  })

  it('pauses for longer each time, up to five seconds, and for any time below that', async () => {
    const { retry, slept } = setUp(8)
    await retry.run('PutObject', failing(8).work)
    expect(slept).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000])
    const least = setUp(3, 0)
    await least.retry.run('PutObject', failing(3).work)
    expect(least.slept).toEqual([0, 0, 0])
  })

  it('takes a turn for each try and holds none in between', async () => {
    let inside = 0
    const seen: number[] = []
    const retry = createRetry({
      maxRetries: 3,
      meter: { storeRetried: () => {} },
      sleep: async () => seen.push(inside),
    })
    const turn: Turn = {
      enter() {
        inside += 1
        return undefined
      },
      leave: () => void (inside -= 1),
    }
    const { work } = failing(2)
    const seenInside = async () => {
      seen.push(inside)
      return work()
    }
    await retry.run('PutObject', seenInside, { turn, retries: 0 })
    expect([seen, inside]).toEqual([[1, 0, 1, 0, 1], 0])
  })

  it('sends nothing once a turn is refused', async () => {
    const { retry } = setUp(3)
    const { work, calls } = failing(0)
    const refused = new HttpError('locked')
    const turn = {
      enter(): undefined {
        throw refused
      },
      leave: () => {},
    }
    await expect(retry.run('PutObject', work, { turn, retries: 0 })).rejects.toBe(refused)
    expect(calls()).toBe(0)
  })
})

describe('a few at a time', () => {
  it('gives the results in the order of the items, and never does more at once', async () => {
    let now = 0
    let most = 0
    const results = await atATime(3, [5, 1, 4, 1, 3, 2], async (ticks) => {
      most = Math.max(most, ++now)
      for (let i = 0; i < ticks; i++) await Promise.resolve()
      now -= 1
      return ticks * 10
    })
    expect([results, most]).toEqual([[50, 10, 40, 10, 30, 20], 3])
  })

  it('begins nothing after a failure, and tells it when the rest has ended', async () => {
    const begun: number[] = []
    let ended = 0
    const work = async (item: number) => {
      begun.push(item)
      if (item === 1) throw new Error('no')
      for (let i = 0; i < 20; i++) await Promise.resolve()
      ended += 1
    }
    await expect(atATime(2, [0, 1, 2, 3], work)).rejects.toThrow('no')
    expect([begun, ended]).toEqual([[0, 1], 1])
  })
})

it('a memory forgets what it was told first', () => {
  const memory = createMemory<number>(2)
  memory.set('a', 1)
  memory.set('b', 2)
  memory.set('a', 3)
  memory.set('c', 4)
  expect([memory.get('a'), memory.get('b'), memory.get('c')]).toEqual([3, undefined, 4])
})

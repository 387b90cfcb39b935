import { describe, expect, it } from 'vitest'
import { MAX_RANGES, planRanges } from '../../src/core/range.ts'
import { httpDate, parseRange, rangeStillApplies } from '../../src/http/range-header.ts'

const plan = (header: string, size: number) => planRanges(parseRange(header), size)
/** `bytes=0-1` as the planned [start, end) pairs */
const pairs = (header: string, size = 10) => plan(header, size)?.map(({ start, end }) => [start, end]) ?? null

describe('a Range header (RFC 9110 §14.1)', () => {
  it.each([
    ['bytes=0-0', [[0, 1]]],
    ['bytes=0-9', [[0, 10]]],
    ['bytes=-3', [[7, 10]]],
    ['bytes=5-', [[5, 10]]],
    ['bytes=5-99', [[5, 10]]],
    ['bytes=-999', [[0, 10]]],
    ['bytes=007-008', [[7, 9]]],
  ])('%s of ten bytes is %j', (header, expected) => {
    expect(pairs(header)).toEqual(expected)
  })

  it('bytes=-999 of 200 bytes is all of them', () => {
    expect(pairs('bytes=-999', 200)).toEqual([[0, 200]])
  })

  it.each(['bytes=10-', 'bytes=10-20', 'bytes=-0', 'bytes=99-', 'bytes=10-,-0,12-13'])(
    '%s of ten bytes is unsatisfiable',
    (header) => {
      expect(pairs(header)).toEqual([])
    },
  )

  it.each(['bytes=0-', 'bytes=0-0', 'bytes=-1', 'bytes=-0'])(
    '%s of an empty file is unsatisfiable',
    (header) => {
      expect(pairs(header, 0)).toEqual([])
    },
  )

  it.each([
    'bytes=5-2',
    'bytes=0-1,5-2',
    'bytes=1e3-2e3',
    'bytes=0x1-0x2',
    'bytes=-',
    'bytes=--1',
    'bytes=1-2-3',
    'bytes=+1-2',
    'bytes=1.0-2',
    'bytes=NaN-NaN',
    'bytes=a-b',
    'bytes=',
    'bytes=,',
    'bytes',
    'bytes=0-1=2',
    'bytes=0 -1',
    'bytes =0-1',
    '=0-1',
    '0-1',
    'none',
    '',
  ])('"%s" is ignored', (header) => {
    expect(parseRange(header)).toBeNull()
  })

  it.each(['items=0-1', 'seconds=1-2', 'xbytes=0-1', 'none=0-1'])(
    'the other unit in %s is ignored',
    (header) => {
      expect(parseRange(header)).toBeNull()
    },
  )

  it('no header asks for no range', () => {
    expect(parseRange(undefined)).toBeNull()
  })

  it.each(['Bytes=0-1,4-5', 'BYTES=0-1,4-5', 'bytes=0-1 ,\t4-5', ' bytes=0-1, 4-5 ', 'bytes=,0-1,,4-5,'])(
    '"%s" asks for the same as bytes=0-1,4-5',
    (header) => {
      expect(pairs(header)).toEqual([
        [0, 2],
        [4, 6],
      ])
    },
  )

  it('a position past 2^53 is clamped or unsatisfiable, never NaN', () => {
    const digits = '9'.repeat(400)
    expect(pairs('bytes=5-9007199254740993')).toEqual([[5, 10]])
    expect(pairs(`bytes=5-${digits}`)).toEqual([[5, 10]])
    expect(pairs(`bytes=-${digits}`)).toEqual([[0, 10]])
    expect(pairs(`bytes=${digits}-`)).toEqual([])
    expect(pairs('bytes=9007199254740990-', Number.MAX_SAFE_INTEGER)).toEqual([
      [9007199254740990, Number.MAX_SAFE_INTEGER],
    ])
  })
})

describe('several ranges (RFC 9110 §14.2)', () => {
  it('stay in the order in which they were asked for', () => {
    expect(pairs('bytes=8-9,0-1,-4')).toEqual([
      [8, 10],
      [0, 2],
      [6, 10],
    ])
    expect(pairs('bytes=8-9,0-1,4-4')).toEqual([
      [8, 10],
      [0, 2],
      [4, 5],
    ])
  })

  it('lose the members that no byte satisfies', () => {
    expect(pairs('bytes=20-30,2-3,-0')).toEqual([[2, 4]])
  })

  it(`are the whole file from ${MAX_RANGES + 1} on`, () => {
    const singles = (count: number) =>
      `bytes=${Array.from({ length: count }, (_, i) => `${2 * i}-${2 * i}`).join()}`
    expect(pairs(singles(MAX_RANGES), 1000)).toHaveLength(MAX_RANGES)
    expect(pairs(singles(MAX_RANGES + 1), 1000)).toBeNull()
  })

  it('are the whole file when more than two of them overlap', () => {
    expect(pairs('bytes=0-2,2-4', 100)).toEqual([
      [0, 3],
      [2, 5],
    ])
    expect(pairs('bytes=4-6,0-2,2-4', 100)).toBeNull()
    expect(pairs('bytes=1-1,1-1,1-1', 100)).toBeNull()
  })

  it('are the whole file when they add up to more than it', () => {
    expect(pairs('bytes=0-9,0-9')).toBeNull()
    expect(pairs('bytes=0-4,5-9')).toEqual([
      [0, 5],
      [5, 10],
    ])
  })
})

describe('If-Range (RFC 9110 §13.1.5)', () => {
  const etag = '"abc"'
  const modifiedMs = Date.UTC(1994, 10, 6, 8, 49, 37)
  const applies = (header: string | undefined) => rangeStillApplies(header, etag, modifiedMs)

  it.each([undefined, '"abc"', 'Sun, 06 Nov 1994 08:49:37 GMT'])('keeps the range for %s', (header) => {
    expect(applies(header)).toBe(true)
  })

  it.each(['"abd"', 'W/"abc"', 'abc', '*', '', '"abc", "abd"', 'Sun, 06 Nov 1994 08:49:38 GMT', '1994'])(
    'drops the range for "%s"',
    (header) => {
      expect(applies(header)).toBe(false)
    },
  )
})

describe('an HTTP date (RFC 9110 §5.6.7)', () => {
  it.each(['Sun, 06 Nov 1994 08:49:37 GMT', 'Sunday, 06-Nov-94 08:49:37 GMT', 'Sun Nov  6 08:49:37 1994'])(
    'is read in the form "%s"',
    (header) => {
      expect(httpDate(header)).toBe(Date.UTC(1994, 10, 6, 8, 49, 37))
    },
  )

  it.each([
    '1994-11-06T08:49:37Z',
    '0',
    '',
    'Sun, 06 Nov 1994 08:49:37 CET',
    'Sun, 99 Foo 1994 08:49:37 GMT',
    undefined,
  ])('is not read out of "%s"', (header) => {
    expect(httpDate(header)).toBeNaN()
  })
})

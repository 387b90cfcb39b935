import { describe, expect, it } from 'vitest'
import { HttpError } from '../../src/core/errors.ts'
import {
  cellAt,
  cellCount,
  cellRange,
  isFull,
  MAX_CELLS,
  missingCells,
  planChunkSize,
} from '../../src/core/geometry.ts'
import { MIB } from '../support/bytes.ts'

const MAX = Number.MAX_SAFE_INTEGER

/** Numbers from 0 up to 1, the same on every run (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Whole numbers from 1 to `most`, as often of few digits as of many. */
const anyUpTo = (random: () => number, most: number): number =>
  Math.max(1, Math.min(most, Math.floor(2 ** (random() * Math.log2(most)) * (1 + random() / 8))))

/** Sizes and cell sizes, those beside a whole number of cells among them. */
function* shapes(seed: number, rounds: number): Generator<{ size: number; chunkSize: number }> {
  const random = seeded(seed)
  for (let i = 0; i < rounds; i++) {
    const chunkSize = anyUpTo(random, MAX)
    const cells = anyUpTo(random, Math.max(1, Math.min(MAX_CELLS, Math.floor(MAX / chunkSize))))
    for (const size of [
      anyUpTo(random, MAX),
      cells * chunkSize - 1,
      cells * chunkSize,
      cells * chunkSize + 1,
    ])
      if (size > 0 && size <= MAX) yield { size, chunkSize }
  }
}

/** Rounded up, without a floating point on the way. */
const exactCount = (size: number, chunkSize: number): number => {
  const [s, c] = [BigInt(size), BigInt(chunkSize)]
  return Number((s + c - 1n) / c)
}

describe('cellCount', () => {
  it.each([
    [0, 10, 0],
    [1, 10, 1],
    [9, 10, 1],
    [10, 10, 1],
    [11, 10, 2],
    [MAX, MAX, 1],
    [MAX, MAX - 1, 2],
    [MAX, 1, MAX],
  ])('%i bytes in cells of %i are %i cells', (size, chunkSize, count) => {
    expect(cellCount({ size, chunkSize })).toBe(count)
  })

  it('nobody knows it while the length is deferred', () => {
    expect(cellCount({ size: null, chunkSize: 10 })).toBeNull()
  })

  it('is exact for any size up to 2^53-1', () => {
    for (const shape of shapes(1, 5000)) {
      if (cellCount(shape) !== exactCount(shape.size, shape.chunkSize)) expect.fail(JSON.stringify(shape))
    }
  })
})

describe('cellRange', () => {
  it('cuts 25 bytes into [0,10) [10,20) [20,25)', () => {
    const shape = { size: 25, chunkSize: 10 }
    expect([0, 1, 2].map((index) => cellRange(index, shape))).toEqual([
      { start: 0, end: 10 },
      { start: 10, end: 20 },
      { start: 20, end: 25 },
    ])
  })

  it('has no short cell while the length is deferred', () => {
    expect(cellRange(7, { size: null, chunkSize: 10 })).toEqual({ start: 70, end: 80 })
  })

  it('never ends past 2^53-1', () => {
    const chunkSize = 2 ** 52
    expect(cellRange(1, { size: MAX, chunkSize })).toEqual({ start: chunkSize, end: MAX })
    expect(cellRange(1, { size: null, chunkSize })).toEqual({ start: chunkSize, end: MAX })
  })

  it('the cells of any file lie end to end, none is empty, and the last ends with the file', () => {
    for (const shape of shapes(2, 3000)) {
      const count = exactCount(shape.size, shape.chunkSize)
      const at = (index: number) => cellRange(index, shape)
      const last = at(count - 1)
      const sound =
        at(0).start === 0 &&
        last.end === shape.size &&
        last.start < last.end &&
        last.end - last.start <= shape.chunkSize &&
        (count < 2 || (at(0).end === at(1).start && at(count - 2).end === last.start))
      if (!sound) expect.fail(JSON.stringify({ shape, last }))
    }
  })
})

describe('cellAt', () => {
  it('is the cell whose range holds the byte, for the first and the last byte of any cell', () => {
    const random = seeded(3)
    for (const shape of shapes(3, 3000)) {
      const index = Math.floor(random() * Math.min(exactCount(shape.size, shape.chunkSize), 2 ** 32))
      const { start, end } = cellRange(index, shape)
      for (const position of [start, end - 1])
        if (cellAt(position, shape) !== index) expect.fail(JSON.stringify({ shape, index, position }))
    }
  })
})

describe('isFull', () => {
  it.each([
    [25, 2, false],
    [25, 3, true],
    [0, 0, true],
    [null, 0, false],
    [null, 3, false],
  ])('a file of %j bytes in cells of 10, with %i of them stored, is full: %j', (size, storedCells, full) => {
    expect(isFull({ size, chunkSize: 10, storedCells })).toBe(full)
  })
})

describe('planChunkSize', () => {
  const limits = { chunkSizeBytes: 5 * MIB, maxUploadBytes: 50_000_000_000 }
  /** The longest file that the default holds. */
  const longest = MAX_CELLS * 5 * MIB

  it.each([0, 1, 5 * MIB, longest])('is the default for %i bytes', (size) => {
    expect(planChunkSize(size, null, limits)).toBe(5 * MIB)
  })

  it('grows to the next MiB from one byte past 10,000 cells of the default', () => {
    expect(planChunkSize(longest + 1, null, limits)).toBe(6 * MIB)
    expect(planChunkSize(MAX_CELLS * 6 * MIB, null, limits)).toBe(6 * MIB)
    expect(planChunkSize(MAX_CELLS * 6 * MIB + 1, null, limits)).toBe(7 * MIB)
  })

  it('a default that is no multiple of a MiB stays as it is where it holds the file', () => {
    expect(planChunkSize(1_000_000, null, { ...limits, chunkSizeBytes: 100 })).toBe(100)
    expect(planChunkSize(1_000_001, null, { ...limits, chunkSizeBytes: 100 })).toBe(MIB)
  })

  it('is planned for the longest file while the length is deferred', () => {
    expect(planChunkSize(null, null, limits)).toBe(5 * MIB)
    expect(planChunkSize(null, null, { ...limits, maxUploadBytes: longest + 1 })).toBe(6 * MIB)
    expect(planChunkSize(null, null, { ...limits, maxUploadBytes: MAX })).toBe(
      planChunkSize(MAX, null, limits),
    )
  })

  it('holds any file up to 2^53-1 in 10,000 cells, in the smallest multiple of a MiB that does', () => {
    for (const { size, chunkSize } of shapes(4, 3000)) {
      const planned = planChunkSize(size, null, { chunkSizeBytes: chunkSize, maxUploadBytes: MAX })
      const sound =
        planned === chunkSize
          ? exactCount(size, planned) <= MAX_CELLS
          : planned % MIB === 0 &&
            exactCount(size, chunkSize) > MAX_CELLS &&
            exactCount(size, planned) <= MAX_CELLS &&
            (planned === MIB || exactCount(size, planned - MIB) > MAX_CELLS)
      if (!sound) expect.fail(JSON.stringify({ size, chunkSize, planned }))
    }
    const largest = planChunkSize(MAX, null, limits)
    expect([largest % MIB, exactCount(MAX, largest) <= MAX_CELLS]).toEqual([0, true])
  })

  it.each([1, 7, 5 * MIB, 6 * MIB, MAX])(
    'a client gets the %i that it asks for, where it holds the file',
    (asked) => {
      expect(planChunkSize(7, asked, limits)).toBe(asked)
      expect(planChunkSize(0, asked, limits)).toBe(asked)
    },
  )

  it('a client may ask for 10,000 cells and is refused with 422 for one byte more', () => {
    expect(planChunkSize(MAX_CELLS * 7, 7, limits)).toBe(7)
    expect(() => planChunkSize(MAX_CELLS * 7 + 1, 7, limits)).toThrow(HttpError)
    expect(() => planChunkSize(MAX_CELLS * 7 + 1, 7, limits)).toThrow(
      expect.objectContaining({ status: 422, message: expect.stringContaining('chunk_size') }),
    )
  })

  it('a client that defers the length is refused a size that does not hold the longest file', () => {
    expect(planChunkSize(null, 5_000_000, limits)).toBe(5_000_000)
    expect(() => planChunkSize(null, 4_999_999, limits)).toThrow(expect.objectContaining({ status: 422 }))
  })

  it('grows no longer than the store takes', () => {
    const store = { ...limits, maxChunkBytes: 5.5 * MIB }
    expect(planChunkSize(MAX_CELLS * 5.5 * MIB, null, store)).toBe(5.5 * MIB)
    expect(() => planChunkSize(MAX_CELLS * 5.5 * MIB + 1, null, store)).toThrow(
      expect.objectContaining({ status: 413, message: expect.stringContaining(String(5.5 * MIB)) }),
    )
  })

  it('refuses a longer one than the store takes with 422, unless the file is shorter anyway', () => {
    const store = { ...limits, maxChunkBytes: 8 * MIB }
    expect(planChunkSize(100 * MIB, 8 * MIB, store)).toBe(8 * MIB)
    expect(planChunkSize(8 * MIB, 100 * MIB, store)).toBe(100 * MIB)
    for (const size of [100 * MIB, null])
      expect(() => planChunkSize(size, 8 * MIB + 1, store)).toThrow(
        expect.objectContaining({ status: 422, message: expect.stringContaining('chunk_size') }),
      )
  })
})

describe('missingCells', () => {
  it.each([
    [0, [], []],
    [3, [], [0, 1, 2]],
    [3, [0, 1, 2], []],
    [3, [1], [0, 2]],
    [4, [0, 3], [1, 2]],
    [4, [3], [0, 1, 2]],
  ])('of %i cells with %j stored', (count, stored, missing) => {
    expect(missingCells(count, stored)).toEqual(missing)
  })

  it('and the stored ones are all of them, each once, in order', () => {
    const random = seeded(5)
    for (let round = 0; round < 200; round++) {
      const count = Math.floor(random() * 200)
      const share = random()
      const stored: number[] = []
      for (let i = 0; i < count; i++) if (random() < share) stored.push(i)
      const missing = missingCells(count, stored)
      expect(missing).toEqual(missing.toSorted((a, b) => a - b))
      expect([...missing, ...stored].toSorted((a, b) => a - b)).toEqual([...Array(count).keys()])
    }
  })

  it('of 10,000 cells are told', () => {
    expect(missingCells(MAX_CELLS, [5000])).toHaveLength(MAX_CELLS - 1)
  })
})

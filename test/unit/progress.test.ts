import { expect, test } from 'vitest'
import { progressOf, type Progress } from '../../src/core/progress.ts'
import { receivedBytes, spansOf } from '../../src/core/received.ts'
import type { Upload } from '../../src/core/upload.ts'

/** 25 bytes in chunks of 10; each change is a moment later. */
const upload = (change: Partial<Upload> = {}): Upload =>
  ({
    id: 'a',
    size: 25,
    chunkSize: 10,
    status: 'IN_PROGRESS',
    offset: 0,
    storedCells: 0,
    updatedAt: new Date(0),
    ...change,
  }) as Upload

test('neighbours are one span, and what stands apart another', () => {
  expect(spansOf([])).toEqual([])
  expect(spansOf([3])).toEqual([[3, 3]])
  expect(spansOf([0, 1, 2, 5, 7, 8])).toEqual([
    [0, 2],
    [5, 5],
    [7, 8],
  ])
})

test.each([
  ['nothing', 0, [], 0],
  ['the begin of the first chunk', 4, [], 4],
  ['a whole chunk and the begin of the next', 14, [[0, 0]], 14],
  ['the short last chunk alone', 0, [[2, 2]], 5],
  [
    'a gap, with its begin',
    13,
    [
      [0, 0],
      [2, 2],
    ],
    18,
  ],
  ['all', 25, [[0, 2]], 25],
] as const)('of %s, each byte counts once', (_, offset, spans, bytes) => {
  expect(receivedBytes(upload({ offset }), spans)).toBe(bytes)
})

test('while no length is declared, the bytes of whole chunks and of the begun one count', () => {
  expect(receivedBytes(upload({ size: null, offset: 13 }), [[0, 0]])).toBe(13)
})

/** Tells of so many bytes at each second, from 0 on. */
const after = (seconds: readonly number[], status: Upload['status'] = 'IN_PROGRESS') =>
  seconds.reduce<Progress | null>(
    (before, bytes, at) =>
      progressOf(before, upload({ size: 1e9, chunkSize: 1e9, offset: bytes, status }), [], at * 1000),
    null,
  )

test('speed is the average of the last five seconds', () => {
  expect(after([0])?.bytesPerSecond).toBe(0)
  expect(after([0, 100, 200])?.bytesPerSecond).toBe(100)
  expect(after([0, 0, 0, 0, 0, 0, 0, 0, 0, 500])?.bytesPerSecond).toBe(100)
  expect(after([0, 900, 900, 900, 900, 900, 900, 900, 900])?.bytesPerSecond).toBe(0)
})

test('bytes that were freed are no negative speed, and what is finished has none', () => {
  expect(after([500, 100])?.bytesPerSecond).toBe(0)
  expect(after([0, 100], 'COMPLETED')?.bytesPerSecond).toBe(0)
})

test('what has not changed is told by the same object, and every change by another', () => {
  const before = progressOf(null, upload(), [], 0)
  expect(progressOf(before, upload(), [], 1000)).toBe(before)
  expect(progressOf(before, upload({ status: 'FAILED' }), [], 1000)).not.toBe(before)
  expect(progressOf(before, upload({ updatedAt: new Date(1) }), [], 1000)).not.toBe(before)
  expect(progressOf(before, upload({ offset: 1 }), [], 1000)).not.toBe(before)
})

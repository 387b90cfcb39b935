import { expect, it } from 'vitest'
import { reservedBytes } from '../../src/core/quota.ts'
import { STATUSES, type Status, type Upload } from '../../src/core/upload.ts'
import { anUpload } from '../support/an-upload.ts'

const GONE: Status[] = ['FAILED', 'EXPIRING', 'ABORTED']

it.each(STATUSES)('an upload that is %s takes its whole length, unless it is gone', (status) => {
  expect(reservedBytes(anUpload({ status }))).toBe(GONE.includes(status) ? 0 : 25)
})

it.each<[what: string, Partial<Upload>, number]>([
  ['that has no byte takes none', { offset: 0, storedCells: 0 }, 0],
  ['takes the prefix, with the cell that is not whole', { offset: 12, storedCells: 1 }, 12],
  ['takes cells that came out of order', { offset: 4, storedCells: 3 }, 34],
  ['that failed takes nothing', { status: 'FAILED' }, 0],
])('one without a length %s', (_what, fields, bytes) => {
  expect(reservedBytes(anUpload({ size: null, ...fields }))).toBe(bytes)
})

it('no upload takes nothing', () => {
  expect(reservedBytes(null)).toBe(0)
})

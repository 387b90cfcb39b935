import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { STATUSES } from '../../src/core/upload.ts'
import {
  bytes,
  commitOf,
  LATER,
  minutesAfter,
  newUpload,
  progressOf,
  range,
  uploadIn,
  wholeCell,
  type Fixture,
  declares,
} from './ledger-fixture.ts'

export function changesCells(fixture: () => Fixture): void {
  describe('declareSize', () => declaresLengths(fixture))
  describe('freeCell', () => freesCells(fixture))
}

function declaresLengths(fixture: () => Fixture): void {
  const createDeferred = async () => (await fixture().ledger.create(newUpload({ size: null }))).id

  it('declares a deferred length once', async () => {
    const { ledger } = fixture()
    const id = await createDeferred()
    expect(await declares(ledger, id, 45)).toBe(true)
    expect(await declares(ledger, id, 46)).toBe(false)
    expect(await declares(ledger, id, 45)).toBe(false)
    expect((await ledger.get(id))?.size).toBe(45)
  })

  it('that makes the upload full moves it to the status for that, and tells so', async () => {
    const { ledger } = fixture()
    const id = await createDeferred()
    await ledger.commit(commitOf(id, [wholeCell(0), bytes(1, 0, 5)]))
    const declared = await ledger.declareSize(id, 15, LATER, 'COMPLETED')
    expect(declared).toMatchObject({
      ok: true,
      reached: 'COMPLETED',
      upload: { status: 'COMPLETED', offset: 15 },
    })
    expect(await ledger.get(id)).toEqual(declared.upload)
    const other = await createDeferred()
    expect(await ledger.declareSize(other, 15, LATER, 'COMPLETED')).toMatchObject({ ok: true, reached: null })
  })

  it('of parallel declarations exactly one counts', async () => {
    const { ledger, other } = fixture()
    const id = await createDeferred()
    const calls = range(10).map((i) => declares(i % 2 ? ledger : other, id, 100 + i))
    const winners = (await Promise.all(calls)).flatMap((won, i) => (won ? [100 + i] : []))
    expect(winners).toEqual([(await ledger.get(id))?.size])
  })

  it('refuses a length below the committed bytes, in the prefix or behind it', async () => {
    const { ledger } = fixture()
    const id = await createDeferred()
    await ledger.commit(commitOf(id, [bytes(0, 0, 7)]))
    expect(await declares(ledger, id, 6)).toBe(false)
    await ledger.commit(commitOf(id, [bytes(3, 0, 2)]))
    expect(await declares(ledger, id, 31)).toBe(false)
    expect((await ledger.get(id))?.size).toBeNull()
    expect(await declares(ledger, id, 32)).toBe(true)
  })

  it('makes the last cell whole when it has exactly its bytes', async () => {
    const { ledger } = fixture()
    const id = await createDeferred()
    await ledger.commit(commitOf(id, [wholeCell(0), bytes(1, 0, 4)]))
    expect(await declares(ledger, id, 14)).toBe(true)
    expect(await ledger.cell(id, 1)).toMatchObject({ index: 1, bytes: 4, whole: true })
    expect(progressOf(await ledger.get(id))).toEqual({ status: 'IN_PROGRESS', offset: 14, storedCells: 2 })
    const moved = await ledger.commit(commitOf(id, [], { whenFull: 'COMPLETED' }))
    expect(moved).toMatchObject({ ok: true, reached: 'COMPLETED' })
  })

  it('makes a last cell whole that lies behind a gap, and the gap closes over it', async () => {
    const { ledger } = fixture()
    const id = await createDeferred()
    await ledger.commit(commitOf(id, [bytes(1, 0, 4)]))
    expect(await declares(ledger, id, 14)).toBe(true)
    expect(progressOf(await ledger.get(id))).toEqual({ status: 'IN_PROGRESS', offset: 0, storedCells: 1 })
    const done = await ledger.commit(commitOf(id, [wholeCell(0)], { whenFull: 'COMPLETED' }))
    expect(done).toMatchObject({ reached: 'COMPLETED', upload: { offset: 14 } })
  })

  it('leaves a last cell partial that lacks bytes, and a cell that ends at a boundary whole', async () => {
    const { ledger } = fixture()
    const short = await createDeferred()
    await ledger.commit(commitOf(short, [bytes(0, 0, 4)]))
    expect(await declares(ledger, short, 5)).toBe(true)
    expect(progressOf(await ledger.get(short))).toMatchObject({ offset: 4, storedCells: 0 })
    const even = await createDeferred()
    await ledger.commit(commitOf(even, [wholeCell(0)]))
    expect(await declares(ledger, even, 10)).toBe(true)
    expect(progressOf(await ledger.get(even))).toMatchObject({ offset: 10, storedCells: 1 })
  })

  it('a length of 0 makes an upload without bytes full', async () => {
    const { ledger } = fixture()
    const id = await createDeferred()
    expect(await declares(ledger, id, 0)).toBe(true)
    expect(await ledger.transition(id, 'FINALIZING', LATER)).toBe(true)
  })

  it('a cell whose writer did not know the length yet is whole when it has all its bytes', async () => {
    const { ledger } = fixture()
    const id = await createDeferred()
    await declares(ledger, id, 4)
    const late = { ...bytes(0, 0, 4), whole: false }
    const done = await ledger.commit(commitOf(id, [late], { whenFull: 'COMPLETED' }))
    expect(done).toMatchObject({ ok: true, reached: 'COMPLETED' })
  })

  it('is refused once the upload takes no more bytes, and for an upload that nobody knows', async () => {
    const { ledger } = fixture()
    const id = await createDeferred()
    await ledger.transition(id, 'ABORTED', LATER)
    expect(await declares(ledger, id, 10)).toBe(false)
    expect(await declares(ledger, randomUUID(), 10)).toBe(false)
  })
}

function freesCells(fixture: () => Fixture): void {
  it('a freed cell ends the prefix where it starts, and filling it again heals the prefix', async () => {
    const { ledger } = fixture()
    const { id } = await ledger.create(newUpload())
    await ledger.commit(commitOf(id, [...range(3).map((i) => wholeCell(i)), bytes(3, 0, 4)]))
    expect(await ledger.freeCell(id, 1, minutesAfter(LATER, 5))).toBe(true)
    const freed = await ledger.get(id)
    expect(progressOf(freed)).toEqual({ status: 'IN_PROGRESS', offset: 10, storedCells: 2 })
    expect(freed?.updatedAt).toEqual(minutesAfter(LATER, 5))
    expect(await ledger.cell(id, 1)).toBeNull()
    const refilled = await ledger.commit(commitOf(id, [bytes(1, 0, 10)]))
    expect(progressOf(refilled.upload)).toEqual({ status: 'IN_PROGRESS', offset: 34, storedCells: 3 })
  })

  it('freeing the partial cell of the prefix goes back to its start', async () => {
    const { ledger } = fixture()
    const { id } = await ledger.create(newUpload())
    await ledger.commit(commitOf(id, [wholeCell(0), bytes(1, 0, 4)]))
    expect(await ledger.freeCell(id, 1, LATER)).toBe(true)
    expect(progressOf(await ledger.get(id))).toMatchObject({ offset: 10, storedCells: 1 })
  })

  it('a cell behind the prefix leaves the offset alone', async () => {
    const { ledger } = fixture()
    const { id } = await ledger.create(newUpload())
    await ledger.commit(commitOf(id, [wholeCell(0), wholeCell(3), bytes(2, 0, 3)]))
    expect(await ledger.freeCell(id, 3, LATER)).toBe(true)
    expect(await ledger.freeCell(id, 2, LATER)).toBe(true)
    expect(progressOf(await ledger.get(id))).toMatchObject({ offset: 10, storedCells: 1 })
    expect(await ledger.storedCells(id)).toEqual([0])
  })

  it('a cell without bytes is free already', async () => {
    const { ledger } = fixture()
    const { id } = await ledger.create(newUpload())
    const before = await ledger.get(id)
    expect(await ledger.freeCell(id, 2, LATER)).toBe(true)
    expect(await ledger.get(id)).toEqual(before)
  })

  it('a cell beyond all that any upload has is free, and has no bytes', async () => {
    const { ledger } = fixture()
    const { id } = await ledger.create(newUpload({ size: null }))
    for (const index of [2 ** 31 - 1, 2 ** 31, 999_999_999_999_999]) {
      expect(await ledger.freeCell(id, index, LATER)).toBe(true)
      expect(await ledger.cell(id, index)).toBeNull()
    }
  })

  it('the place where a PATCH ended is kept only while it lies within the prefix', async () => {
    const { ledger } = fixture()
    const { id } = await ledger.create(newUpload())
    await ledger.commit(commitOf(id, [wholeCell(1), wholeCell(2)]))
    await ledger.commit(commitOf(id, [wholeCell(0)], { appendOffset: 10 }))
    await ledger.freeCell(id, 2, LATER)
    expect(await ledger.get(id)).toMatchObject({ offset: 20, appendOffset: 10 })
    await ledger.freeCell(id, 0, LATER)
    expect(await ledger.get(id)).toMatchObject({ offset: 0, appendOffset: null })
  })

  it('of parallel calls for one cell the counts change once', async () => {
    const { ledger, other } = fixture()
    const { id } = await ledger.create(newUpload())
    await ledger.commit(commitOf(id, [wholeCell(0), wholeCell(1)]))
    const calls = range(6).map((i) => (i % 2 ? ledger : other).freeCell(id, 0, LATER))
    await Promise.all(calls)
    expect(progressOf(await ledger.get(id))).toMatchObject({ offset: 0, storedCells: 1 })
  })

  it.each(STATUSES)('a full upload in %s gives up a cell only if it is open', async (status) => {
    const { ledger } = fixture()
    const id = await uploadIn(ledger, status, status !== 'INITIATED')
    const open = status === 'INITIATED' || status === 'IN_PROGRESS'
    expect(await ledger.freeCell(id, 0, LATER)).toBe(open)
    if (!open) expect(await ledger.storedCells(id)).toHaveLength(5)
  })

  it('an upload that nobody knows is not open', async () => {
    expect(await fixture().ledger.freeCell(randomUUID(), 0, LATER)).toBe(false)
  })
}

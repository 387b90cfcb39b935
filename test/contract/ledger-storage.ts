import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import {
  bytes,
  commitOf,
  LATER,
  newUpload,
  range,
  uploadIn,
  wholeCell,
  type Fixture,
} from './ledger-fixture.ts'

/** What a store notes of the bytes. */
export function keepsStorageNotes(fixture: () => Fixture): void {
  it('a cell keeps the ref and the SHA-256 of the commit that came last', async () => {
    const { ledger, other } = fixture()
    const { id } = await ledger.create(newUpload())
    await ledger.commit(commitOf(id, [{ ...bytes(1, 0, 3), ref: 'first', sha256: 'aa' }]))
    expect(await other.cell(id, 1)).toEqual({ index: 1, bytes: 3, whole: false, ref: 'first', sha256: 'aa' })
    await ledger.commit(commitOf(id, [{ ...bytes(1, 3, 10), ref: 'second' }]))
    expect(await other.cell(id, 1)).toEqual({ index: 1, bytes: 10, whole: true, ref: 'second', sha256: null })
  })

  it('cells answers every cell with a committed byte, ascending', async () => {
    const { ledger } = fixture()
    const { id } = await ledger.create(newUpload())
    await ledger.commit(commitOf(id, [{ ...wholeCell(4), ref: 'd' }, bytes(2, 0, 1)]))
    await ledger.commit(commitOf(id, [wholeCell(0)]))
    expect((await ledger.cells(id)).map(({ index, whole, ref }) => [index, whole, ref])).toEqual([
      [0, true, null],
      [2, false, null],
      [4, true, 'd'],
    ])
    expect(await ledger.cells(randomUUID())).toEqual([])
  })

  it('of many names that are claimed at once for the storage, one counts, for good', async () => {
    const { ledger, other } = fixture()
    const { id } = await ledger.create(newUpload())
    const claims = range(10).map((i) => (i % 2 ? ledger : other).claimStorageId(id, `name ${i}`))
    const names = new Set(await Promise.all(claims))
    expect(names.size).toBe(1)
    expect(await ledger.claimStorageId(id, 'late')).toBe([...names][0])
    expect((await other.get(id))?.storageId).toBe([...names][0])
  })

  it.each(['COMPLETED', 'FAILED', 'ABORTED'] as const)(
    'no name can be claimed for the storage of an upload that is %s',
    async (status) => {
      const { ledger } = fixture()
      const id = await uploadIn(ledger, status, true)
      expect(await ledger.claimStorageId(id, 'name')).toBeNull()
    },
  )

  it('no name can be claimed for the storage of an upload that was deleted, or never was', async () => {
    const { ledger } = fixture()
    const { id } = await ledger.create(newUpload())
    await ledger.markDeleted(id, LATER)
    expect(await ledger.claimStorageId(id, 'name')).toBeNull()
    expect(await ledger.claimStorageId(randomUUID(), 'name')).toBeNull()
  })

  it('an upload that is marked as staged stays so', async () => {
    const { ledger, other } = fixture()
    const { id } = await ledger.create(newUpload())
    await ledger.markStaged(id)
    await ledger.markStaged(id)
    const done = await ledger.commit(commitOf(id, [wholeCell(0)]))
    expect([done.upload?.staged, (await other.get(id))?.staged]).toEqual([true, true])
  })
}

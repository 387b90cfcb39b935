import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import {
  bytes,
  commitOf,
  EXPIRY,
  LATER,
  LATER_EXPIRY,
  newUpload,
  START,
  type Fixture,
} from './ledger-fixture.ts'

/** Final uploads, and the expiry of what they are made of. */
export function makesFinals(current: () => Fixture): void {
  const ledgerOf = () => current().ledger
  const otherOf = () => current().other
  const fresh = (size = 45) => ({ ...newUpload({ dialect: 'tus', concat: 'final;/files/a' }), size })

  test('a final upload is created with every byte counted, FINALIZING, and can be COMPLETED', async () => {
    const ledger = ledgerOf()
    const upload = await ledger.createFinal(fresh(), randomUUID())
    expect(upload).toMatchObject({
      status: 'FINALIZING',
      offset: 45,
      storedCells: 5,
      concat: 'final;/files/a',
    })
    expect(await ledger.get(upload.id)).toEqual(upload)
    expect(await ledger.transition(upload.id, 'COMPLETED', LATER)).toBe(true)
  })

  test('getAll answers each upload that is there, of thousands of ids', async () => {
    const ledger = ledgerOf()
    const [a, b, gone] = [
      await ledger.create(newUpload()),
      await ledger.create(newUpload()),
      await ledger.create(newUpload()),
    ]
    await ledger.markDeleted(gone.id, LATER)
    const ids = [a.id, ...Array.from({ length: 2500 }, () => randomUUID()), gone.id, b.id]
    const found = await ledger.getAll(ids)
    expect(new Set(found.map(({ id }) => id))).toEqual(new Set([a.id, b.id]))
    expect(found).toHaveLength(2)
    expect(await ledger.getAll([])).toEqual([])
  })

  test('one of no bytes has no cells and can be COMPLETED', async () => {
    const ledger = ledgerOf()
    const upload = await ledger.createFinal(fresh(0), randomUUID())
    expect(upload).toMatchObject({ offset: 0, storedCells: 0 })
    expect(await ledger.transition(upload.id, 'COMPLETED', LATER)).toBe(true)
  })

  test('a key is given out once, however many come for it at once', async () => {
    const [ledger, other, key] = [ledgerOf(), otherOf(), randomUUID()]
    expect(await ledger.findFinal(key)).toBeNull()
    const made = await Promise.all(
      [ledger, other, ledger, other].map((each) => each.createFinal(fresh(), key)),
    )
    expect(new Set(made.map(({ id }) => id)).size).toBe(1)
    expect((await other.findFinal(key))?.id).toBe(made[0]?.id)
  })

  test.each(['deleted', 'FAILED'])('the key of one that is %s is free again', async (how) => {
    const [ledger, key] = [ledgerOf(), randomUUID()]
    const first = await ledger.createFinal(fresh(), key)
    if (how === 'deleted') await ledger.markDeleted(first.id, LATER)
    else await ledger.transition(first.id, 'FAILED', LATER, 'a part is gone')
    expect(await ledger.findFinal(key)).toBeNull()
    expect((await ledger.createFinal(fresh(), key)).id).not.toBe(first.id)
  })

  test("uploads without a key do not stand in each other's way", async () => {
    const ledger = ledgerOf()
    const [a, b] = [await ledger.create(newUpload()), await ledger.create(newUpload())]
    expect(a.id).not.toBe(b.id)
  })

  test('setExpiry moves the expiry of open uploads alone, in both directions, also of thousands', async () => {
    const ledger = ledgerOf()
    const open = await ledger.create(newUpload())
    const done = await ledger.create(newUpload({ size: 10 }))
    await ledger.commit(commitOf(done.id, [bytes(0, 0, 10)], { whenFull: 'COMPLETED' }))
    const strangers = Array.from({ length: 2500 }, () => randomUUID())
    const before = await ledger.get(done.id)
    await ledger.setExpiry([open.id, ...strangers, open.id, done.id], LATER_EXPIRY)
    expect((await ledger.get(open.id))?.expiresAt).toEqual(LATER_EXPIRY)
    expect(await ledger.get(done.id)).toEqual(before)
    await ledger.setExpiry([open.id], START)
    expect((await ledger.expired(EXPIRY, 10_000)).map(({ id }) => id)).toContain(open.id)
    await ledger.setExpiry([], START)
  })
}

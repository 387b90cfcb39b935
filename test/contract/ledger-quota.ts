import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { UploadLedger } from '../../src/core/ports/ledger.ts'
import { reservedBytes } from '../../src/core/quota.ts'
import type { NewUpload } from '../../src/core/upload.ts'
import type { LedgerLimits } from '../../src/ledger/ledger.ts'
import {
  bytes,
  commitOf,
  doneOf,
  EXPIRY,
  LATER,
  minutesAfter,
  newUpload,
  range,
  wholeCell,
  type Fixture,
} from './ledger-fixture.ts'

const QUOTA = 100
const OVER = {
  code: 'payload_too_large',
  status: 413,
  message: expect.stringContaining('100 bytes') as string,
}

/** What the uploads of one owner may have together, on two ledgers that share a database. */
export function keepsQuota(open: (options?: LedgerLimits) => Promise<Fixture>): void {
  let fixture: Fixture
  beforeAll(async () => {
    fixture = await open({ maxBytesPerUser: QUOTA })
  })
  afterAll(() => fixture.close())

  const nodes = () => [fixture.ledger, fixture.other] as const
  const node = (i: number): UploadLedger => nodes()[i % 2] as UploadLedger
  const newOwner = () => {
    const ownerId = randomUUID()
    const fresh = (size: number | null, fields: Partial<NewUpload> = {}) =>
      newUpload({ ownerId, size, ...fields })
    return {
      ownerId,
      fresh,
      create: (size: number | null, i = 0) => node(i).create(fresh(size)),
      /** Fails unless exactly so much is left; leaves it as it was. */
      async expectLeft(left: number) {
        await expect(node(0).create(fresh(left + 1))).rejects.toMatchObject(OVER)
        if (left === 0) return
        const { id } = await node(1).create(fresh(left))
        await node(0).markDeleted(id, LATER)
      },
    }
  }
  const fails = (id: string, i = 0) => node(i).transition(id, 'FAILED', LATER, 'made up')

  test('an owner may have as much as the quota and not a byte more; others are not concerned', async () => {
    const [ada, bob] = [newOwner(), newOwner()]
    await ada.create(60)
    const refused = ada.fresh(41)
    await expect(node(1).create(refused)).rejects.toMatchObject(OVER)
    expect(await node(0).get(refused.id)).toBeNull()
    await ada.create(40, 1)
    await expect(ada.create(1)).rejects.toMatchObject(OVER)
    await ada.create(0)
    await bob.create(QUOTA)
    await expect(newOwner().create(Number.MAX_SAFE_INTEGER)).rejects.toMatchObject(OVER)
  })

  test('of many that create at once as many succeed as fit, also when nothing was counted yet', async () => {
    for (const round of range(4)) {
      const { create, ownerId, expectLeft } = newOwner()
      await create(3)
      await create(4, 1)
      if (round % 2) await node(round).forgetUsage()
      const outcomes = await Promise.allSettled(range(24).map((i) => create(10, i)))
      const refused = outcomes.filter((each) => each.status === 'rejected')
      for (const { reason } of refused) expect(reason).toMatchObject(OVER)
      expect({ round, refused: refused.length }).toEqual({ round, refused: 15 })
      expect((await node(0).list({ ownerId, limit: 100 })).uploads).toHaveLength(11)
      await expectLeft(3)
    }
  })

  test('a keyed creation that is refused takes no key, and one that comes again takes no room', async () => {
    const { ownerId, fresh, create, expectLeft } = newOwner()
    const { id } = await create(60)
    const done = doneOf({ ownerId })
    await expect(node(1).createOnce(fresh(50), done)).rejects.toMatchObject(OVER)
    expect((await node(0).look(null, done, LATER)).done).toBeNull()
    await node(0).markDeleted(id, LATER)
    expect(await node(1).createOnce(fresh(50), done)).toBeNull()
    expect(await node(0).createOnce(fresh(50), done)).toEqual(done)
    await expectLeft(50)
  })

  test('a final upload takes room beside its parts, once', async () => {
    const { fresh, create, expectLeft } = newOwner()
    await create(30)
    const final = (size: number) => ({ ...fresh(size, { dialect: 'tus', concat: 'final;/files/a' }), size })
    const key = randomUUID()
    const made = await Promise.all(range(4).map((i) => node(i).createFinal(final(30), key)))
    expect(new Set(made.map(({ id }) => id)).size).toBe(1)
    await expectLeft(40)
    await expect(node(0).createFinal(final(41), randomUUID())).rejects.toMatchObject(OVER)
    await fails(made[0]?.id ?? '')
    await expectLeft(70)
  })

  test('what is deleted, expires or fails gives its room back, once, and what completes keeps it', async () => {
    const { create, expectLeft } = newOwner()
    const ids = await Promise.all(range(5).map(async (i) => (await create(20, i)).id))
    const [deleted, expired, failed, completed, aborted] = ids as [string, string, string, string, string]
    await Promise.all(range(4).map((i) => node(i).markDeleted(deleted, LATER)))
    await expectLeft(20)
    await node(1).purge(deleted)
    await Promise.all(range(4).map((i) => node(i).expire(expired, minutesAfter(EXPIRY, 1))))
    await expectLeft(40)
    await node(0).transition(expired, 'ABORTED', LATER)
    await node(0).markDeleted(expired, LATER)
    await expectLeft(40)
    await Promise.all(range(4).map((i) => fails(failed, i)))
    await node(0).markDeleted(failed, LATER)
    await node(1).transition(aborted, 'ABORTED', LATER)
    await expectLeft(80)
    await node(0).commit(commitOf(completed, [wholeCell(0), wholeCell(1)]))
    for (const to of ['FINALIZING', 'COMPLETED'] as const) await node(0).transition(completed, to, LATER)
    await expectLeft(80)
    await node(0).markDeleted(completed, LATER)
    await expectLeft(100)
  })

  test('an upload without a length takes what is committed of it, and the commit that goes over is refused', async () => {
    const { create, expectLeft } = newOwner()
    await create(70)
    const { id } = await create(null, 1)
    await expectLeft(30)
    expect(await node(0).commit(commitOf(id, [wholeCell(0), wholeCell(2), bytes(1, 0, 4)]))).toMatchObject({
      ok: true,
    })
    await expectLeft(6)
    const before = await node(1).get(id)
    expect(await node(0).commit(commitOf(id, [wholeCell(3)]))).toEqual({
      ok: false,
      upload: before,
      refusal: expect.objectContaining(OVER) as unknown,
    })
    expect(await node(1).get(id)).toEqual(before)
    expect(await node(1).commit(commitOf(id, [bytes(1, 4, 10)]))).toMatchObject({ ok: true })
    expect(await node(1).commit(commitOf(id, []))).toMatchObject({ ok: true })
    await expectLeft(0)
    expect(await node(0).freeCell(id, 2, LATER)).toBe(true)
    await expectLeft(10)
    await node(0).markDeleted(id, LATER)
    await expectLeft(30)
  })

  test('declaring a length takes the rest of it, or is refused', async () => {
    const { create, expectLeft } = newOwner()
    await create(50)
    const { id } = await create(null)
    await node(0).commit(commitOf(id, [wholeCell(0)]))
    await expect(node(1).declareSize(id, 51, LATER, null)).rejects.toMatchObject(OVER)
    expect(await node(0).get(id)).toMatchObject({ size: null, offset: 10 })
    await expectLeft(40)
    expect(await node(1).declareSize(id, 35, LATER, null)).toMatchObject({ ok: true })
    await expectLeft(15)
    await node(0).commit(commitOf(id, [wholeCell(1)]))
    await node(0).freeCell(id, 1, LATER)
    await expectLeft(15)
  })

  test('commits to many uploads without a length never go over, and one that is refused spoils no other', async () => {
    const { create, expectLeft } = newOwner()
    const stranger = newOwner()
    const ids = await Promise.all(range(4).map(async (i) => (await create(null, i)).id))
    const theirs = await stranger.create(null)
    const [own, others] = await Promise.all([
      Promise.all(
        range(24).map((i) =>
          node(i).commit(commitOf(ids[i % 4] as string, [wholeCell(Math.floor(i / 4), 10)])),
        ),
      ),
      Promise.all(range(6).map((i) => node(i).commit(commitOf(theirs.id, [wholeCell(i, 10)])))),
    ])
    expect(own.filter(({ ok }) => ok)).toHaveLength(10)
    expect(others.every(({ ok }) => ok)).toBe(true)
    await expectLeft(0)
    await stranger.expectLeft(40)
  })

  test('what was created without a quota counts once it was forgotten what had been counted', async () => {
    const { ownerId, create, expectLeft, fresh } = newOwner()
    await create(10)
    const unlimited = await fixture.another({ maxBytesPerUser: 0 })
    await unlimited.create(fresh(60))
    const { id } = await unlimited.create(fresh(null))
    await unlimited.commit(commitOf(id, [bytes(0, 0, 5)]))
    await unlimited.close()
    await expectLeft(90)
    await Promise.all(nodes().map((each) => each.forgetUsage()))
    await expectLeft(25)
    expect((await node(0).list({ ownerId, limit: 9 })).uploads).toHaveLength(3)
  })

  test('whatever happens in whatever order, the count is that of the uploads that are there', async () => {
    for (const round of range(3)) {
      const { ownerId, create, expectLeft } = newOwner()
      const act = async (i: number): Promise<unknown> => {
        const { id } = await create(i % 3 === 0 ? null : 1 + (i % 7), i)
        const cells = [
          i % 3 === 0 ? bytes(0, 0, 1 + (i % 9)) : { index: 0, from: 0, to: 1, whole: i % 7 === 0 },
        ]
        const commit = () => node(i + 1).commit(commitOf(id, cells))
        const end = [
          () => node(i).markDeleted(id, LATER),
          () => node(i).expire(id, minutesAfter(EXPIRY, 9)),
          () => node(i).freeCell(id, 0, LATER),
          () =>
            node(i)
              .declareSize(id, 12, LATER, null)
              .catch(() => null),
          () => fails(id, i),
          () => node(i).forgetUsage(),
          () => node(i).get(id),
        ][(i * 5 + round) % 7] as () => Promise<unknown>
        return i % 2 ? Promise.all([commit(), end()]) : commit().then(end)
      }
      await Promise.allSettled(range(40).map(act))
      const { uploads } = await node(0).list({ ownerId, limit: 100 })
      const used = uploads.reduce((sum, upload) => sum + reservedBytes(upload), 0)
      expect(used).toBeLessThanOrEqual(QUOTA)
      expect(used).toBeGreaterThan(0)
      await expectLeft(QUOTA - used)
    }
  })
}

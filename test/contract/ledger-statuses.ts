import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  isOpen,
  publicStatus,
  STATUSES,
  TRANSITIONS,
  type Status,
  type Upload,
} from '../../src/core/upload.ts'
import {
  commitOf,
  EXPIRY,
  LATER,
  minutesAfter,
  newUpload,
  range,
  uploadIn,
  wholeCell,
  type Fixture,
} from './ledger-fixture.ts'

const needsEveryCell = (to: Status) => to === 'FINALIZING' || to === 'COMPLETED'
const canBePartial = (status: Status) => isOpen(status) || publicStatus(status) === 'ABORTED'

export function movesStatuses(fixture: () => Fixture): void {
  describe('transition', () => transitions(fixture))
  describe('expiry and cleaning up', () => cleansUp(fixture))
}

function transitions(fixture: () => Fixture): void {
  const pairs = STATUSES.flatMap((from) => STATUSES.map((to) => [from, to] as const))

  it.each(pairs)(
    'a full upload goes from %s to %s exactly if the state machine says so',
    async (from, to) => {
      const { ledger } = fixture()
      // Without a byte only an empty file is full.
      const id =
        from === 'INITIATED'
          ? (await ledger.create(newUpload({ size: 0 }))).id
          : await uploadIn(ledger, from, true)
      const allowed = TRANSITIONS[from].includes(to)
      expect(await ledger.transition(id, to, LATER)).toBe(allowed)
      expect((await ledger.get(id))?.status).toBe(allowed ? to : from)
    },
  )

  it.each(pairs.filter(([from]) => canBePartial(from)))(
    'an upload with cells missing goes from %s to %s only if that needs no cells',
    async (from, to) => {
      const { ledger } = fixture()
      const id = await uploadIn(ledger, from, false)
      const allowed = TRANSITIONS[from].includes(to) && !needsEveryCell(to)
      expect(await ledger.transition(id, to, LATER)).toBe(allowed)
      expect((await ledger.get(id))?.status).toBe(allowed ? to : from)
    },
  )

  it('an upload of unknown length is never full', async () => {
    const { ledger } = fixture()
    const { id } = await ledger.create(newUpload({ size: null }))
    await ledger.commit(commitOf(id, [wholeCell(0)]))
    expect(await ledger.transition(id, 'FINALIZING', LATER)).toBe(false)
  })

  it.each(['FINALIZING', 'COMPLETED', 'ABORTED'] as const)(
    'of parallel transitions to %s exactly one wins',
    async (to) => {
      const { ledger, other } = fixture()
      const id = await uploadIn(ledger, to === 'COMPLETED' ? 'FINALIZING' : 'IN_PROGRESS', true)
      const calls = range(20).map((i) => (i % 2 ? ledger : other).transition(id, to, LATER))
      expect((await Promise.all(calls)).filter(Boolean)).toHaveLength(1)
    },
  )

  it('a transition dates the upload and keeps its bytes', async () => {
    const { ledger } = fixture()
    const id = await uploadIn(ledger, 'IN_PROGRESS', true)
    const before = await ledger.get(id)
    const at = minutesAfter(LATER, 7)
    await ledger.transition(id, 'FINALIZING', at)
    expect(await ledger.get(id)).toEqual({ ...before, status: 'FINALIZING', updatedAt: at })
  })

  it('a reason may have what no database stores', async () => {
    const { ledger } = fixture()
    const id = await uploadIn(ledger, 'FINALIZING', true)
    expect(await ledger.transition(id, 'FAILED', LATER, 'the store said "\0 \ud800"')).toBe(true)
    expect((await ledger.get(id))?.status).toBe('FAILED')
  })

  it('an upload that nobody knows makes no transition', async () => {
    expect(await fixture().ledger.transition(randomUUID(), 'ABORTED', LATER)).toBe(false)
  })
}

function cleansUp(fixture: () => Fixture): void {
  const create = async (expiresAt: Date) => (await fixture().ledger.create(newUpload({ expiresAt }))).id

  it('expired answers open uploads at or past their expiry, oldest first, up to the limit', async () => {
    const { ledger } = fixture()
    // Years before every other test's dates, so that nothing else is in the way.
    const then = new Date('2001-01-01T00:00:00.000Z')
    const [second, first, third] = [
      await create(minutesAfter(then, 2)),
      await create(minutesAfter(then, 1)),
      await create(minutesAfter(then, 3)),
    ]
    await ledger.commit(commitOf(first, [wholeCell(0)], { expiresAt: minutesAfter(then, 1) }))
    const completed = await create(then)
    await ledger.transition(completed, 'ABORTED', then)
    const deleted = await create(then)
    await ledger.markDeleted(deleted, then)

    const ids = async (minutes: number, limit: number) =>
      (await ledger.expired(minutesAfter(then, minutes), limit)).map(({ id }) => id)
    expect(await ids(0, 10)).toEqual([])
    expect(await ids(2, 10)).toEqual([first, second])
    expect(await ids(9, 10)).toEqual([first, second, third])
    expect(await ids(9, 2)).toEqual([first, second])
    for (const id of [first, second, third]) await ledger.purge(id)
  })

  it('expire leaves no cells and is EXPIRING until its bytes are gone', async () => {
    const { ledger } = fixture()
    const id = await create(EXPIRY)
    await ledger.commit(commitOf(id, [wholeCell(0)], { expiresAt: EXPIRY }))
    const now = minutesAfter(EXPIRY, 1)
    expect(await ledger.expire(id, now)).toBe(true)
    expect(await ledger.get(id)).toMatchObject({
      status: 'EXPIRING',
      updatedAt: now,
      storedCells: 0,
      offset: 0,
    })
    expect(await ledger.storedCells(id)).toEqual([])
    expect(await ledger.expire(id, now)).toBe(false)
    expect((await ledger.inStatus('EXPIRING', 1000)).map((each) => each.id)).toContain(id)
    expect(await ledger.transition(id, 'ABORTED', now)).toBe(true)
    expect((await ledger.inStatus('EXPIRING', 1000)).map((each) => each.id)).not.toContain(id)
  })

  it('expire leaves an upload alone that a commit has prolonged, or that is not open', async () => {
    const { ledger } = fixture()
    const prolonged = await create(EXPIRY)
    await ledger.commit(commitOf(prolonged, [wholeCell(0)], { expiresAt: minutesAfter(EXPIRY, 60) }))
    expect(await ledger.expire(prolonged, minutesAfter(EXPIRY, 59))).toBe(false)
    expect(await ledger.storedCells(prolonged)).toEqual([0])
    for (const status of ['FINALIZING', 'COMPLETED', 'FAILED', 'EXPIRING', 'ABORTED'] as const) {
      const id = await uploadIn(ledger, status, true)
      expect(await ledger.expire(id, minutesAfter(EXPIRY, 99_999))).toBe(false)
      expect(await ledger.storedCells(id)).toHaveLength(5)
    }
  })

  it('of parallel expire calls exactly one gets true', async () => {
    const { ledger, other } = fixture()
    const id = await create(EXPIRY)
    const calls = range(10).map((i) => (i % 2 ? ledger : other).expire(id, minutesAfter(EXPIRY, 1)))
    expect((await Promise.all(calls)).filter(Boolean)).toHaveLength(1)
  })

  it('leftovers are deleted uploads until they are purged', async () => {
    const { ledger } = fixture()
    const long = new Date('2000-01-01T00:00:00.000Z')
    const open = await create(EXPIRY)
    const completed = await uploadIn(ledger, 'COMPLETED', true)
    const kept = await uploadIn(ledger, 'COMPLETED', true)
    await ledger.markDeleted(open, LATER)
    await ledger.markDeleted(completed, LATER)
    const found = idsOf(await ledger.leftovers(long, 1000))
    expect(found).toEqual(expect.arrayContaining([open, completed]))
    expect(found).not.toContain(kept)
    expect(await ledger.leftovers(long, 1)).toHaveLength(1)
    await ledger.purge(open)
    expect(idsOf(await ledger.leftovers(long, 1000))).not.toContain(open)
  })

  it('leftovers are tombstones that are older than asked for, and no younger ones', async () => {
    const { ledger } = fixture()
    const id = await create(EXPIRY)
    const deadAt = minutesAfter(EXPIRY, 10)
    await ledger.expire(id, deadAt)
    expect(idsOf(await ledger.leftovers(minutesAfter(deadAt, 1), 1000))).not.toContain(id)
    await ledger.transition(id, 'ABORTED', deadAt)
    expect(idsOf(await ledger.leftovers(deadAt, 1000))).not.toContain(id)
    expect(idsOf(await ledger.leftovers(minutesAfter(deadAt, 1), 1000))).toContain(id)
    await ledger.markDeleted(id, deadAt)
    const found = idsOf(await ledger.leftovers(minutesAfter(deadAt, 1), 1000))
    expect(found.filter((each) => each === id)).toHaveLength(1)
  })

  it('inStatus answers exactly what is FINALIZING and not deleted, up to the limit', async () => {
    const { ledger } = fixture()
    const one = await uploadIn(ledger, 'FINALIZING', true)
    const two = await uploadIn(ledger, 'FINALIZING', true)
    const deleted = await uploadIn(ledger, 'FINALIZING', true)
    await ledger.markDeleted(deleted, LATER)
    await uploadIn(ledger, 'IN_PROGRESS', true)
    const found = await ledger.inStatus('FINALIZING', 1000)
    expect(found.every(({ status }) => status === 'FINALIZING')).toBe(true)
    expect(found.map(({ id }) => id)).toEqual(expect.arrayContaining([one, two]))
    expect(found.map(({ id }) => id)).not.toContain(deleted)
    expect(await ledger.inStatus('FINALIZING', 1)).toHaveLength(1)
    await ledger.transition(one, 'FAILED', LATER, 'the bucket is gone')
    expect((await ledger.inStatus('FINALIZING', 1000)).map(({ id }) => id)).not.toContain(one)
  })
}

const idsOf = (uploads: Upload[]): string[] => uploads.map(({ id }) => id)

import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import {
  doneOf,
  EXPIRY,
  LATER,
  minutesAfter,
  newUpload,
  range,
  START,
  type Fixture,
} from './ledger-fixture.ts'

const OTHER = 'cd'.repeat(32)

/** What an Idempotency-Key stands for, and for how long. */
export function remembersKeys(current: () => Fixture): void {
  const ledgerOf = () => current().ledger
  const otherOf = () => current().other

  test('what was noted is found by its owner and key alone, on every node, with the upload', async () => {
    const [ledger, other] = [ledgerOf(), otherOf()]
    const upload = await ledger.create(newUpload())
    const done = doneOf({ key: `${randomUUID()} "'\\ ~`, answer: JSON.stringify({ ü: ['日本', null] }) })
    expect(await ledger.look(upload.id, done, START)).toEqual({ upload, done: null })
    expect(await ledger.note(done, START)).toBe(true)
    expect(await other.look(upload.id, done, LATER)).toEqual({ upload, done })
    expect((await other.look(null, done, LATER)).done).toEqual(done)
    expect(await other.look(null, { ...done, ownerId: 'bob' }, LATER)).toEqual({ upload: null, done: null })
    expect((await other.look(null, { ...done, key: done.key.toUpperCase() }, LATER)).done).toBeNull()
  })

  test('a look sees no upload that is deleted or was never there, and what it was done by all the same', async () => {
    const ledger = ledgerOf()
    const { id } = await ledger.create(newUpload())
    const done = doneOf()
    await ledger.note(done, START)
    await ledger.markDeleted(id, LATER)
    for (const gone of [id, randomUUID()])
      expect(await ledger.look(gone, done, LATER)).toEqual({ upload: null, done })
  })

  test('a key stands for the first, however many come at once, until its time is over', async () => {
    const [ledger, other] = [ledgerOf(), otherOf()]
    const key = randomUUID()
    const rivals = range(10).map((i) => doneOf({ key, fingerprint: String(i) }))
    const noted = await Promise.all(rivals.map((done, i) => (i % 2 ? ledger : other).note(done, START)))
    expect(noted.filter(Boolean)).toHaveLength(1)
    const first = rivals[noted.indexOf(true)]
    const justBefore = new Date(EXPIRY.getTime() - 1)
    expect(await other.note(doneOf({ key, fingerprint: OTHER }), justBefore)).toBe(false)
    expect((await other.look(null, { ownerId: 'ada', key }, justBefore)).done).toEqual(first)

    expect((await other.look(null, { ownerId: 'ada', key }, EXPIRY)).done).toBeNull()
    const next = doneOf({ key, fingerprint: OTHER, answer: '1', expiresAt: minutesAfter(EXPIRY, 1) })
    expect(await ledger.note(next, EXPIRY)).toBe(true)
    expect((await other.look(null, { ownerId: 'ada', key }, EXPIRY)).done).toEqual(next)
  })

  test('createOnce creates the upload and notes it', async () => {
    const [ledger, other] = [ledgerOf(), otherOf()]
    const [fresh, done] = [newUpload(), doneOf({ answer: '{"upload_id":"x"}' })]
    expect(await ledger.createOnce(fresh, done)).toBeNull()
    const { upload, done: found } = await other.look(fresh.id, done, LATER)
    expect(upload).toMatchObject({ id: fresh.id, status: 'INITIATED' })
    expect(found).toEqual(done)
  })

  test('of createOnce calls with one key exactly one creates, and the others get what it noted', async () => {
    const [ledger, other] = [ledgerOf(), otherOf()]
    for (const round of range(10)) {
      const key = randomUUID()
      const rivals = range(6).map(() => {
        const upload = newUpload()
        return { upload, done: doneOf({ key, answer: JSON.stringify(upload.id) }) }
      })
      const answers = await Promise.all(
        rivals.map(({ upload, done }, i) => (i % 2 ? ledger : other).createOnce(upload, done)),
      )
      const uploads = await ledger.getAll(rivals.map(({ upload }) => upload.id))
      expect({ round, created: answers.filter((answer) => answer === null).length }).toEqual({
        round,
        created: 1,
      })
      expect(uploads).toHaveLength(1)
      for (const earlier of answers) if (earlier) expect(earlier.answer).toBe(JSON.stringify(uploads[0]?.id))
    }
  })

  test('a key whose upload can not be created stands for nothing', async () => {
    const ledger = ledgerOf()
    const taken = await ledger.create(newUpload())
    const done = doneOf()
    await expect(ledger.createOnce(newUpload({ id: taken.id }), done)).rejects.toThrow()
    expect((await ledger.look(null, done, START)).done).toBeNull()
    expect(await ledger.createOnce(newUpload(), done)).toBeNull()
  })

  test('forget drops keys whose time is over, oldest first, up to the limit, and no others', async () => {
    const ledger = ledgerOf()
    // Years before every other test's dates, so that nothing else is in the way.
    const then = new Date('2001-01-01T00:00:00.000Z')
    const keys = range(5).map((i) => doneOf({ expiresAt: minutesAfter(then, i) }))
    for (const done of keys) await ledger.note(done, new Date(0))
    const left = async () =>
      (await Promise.all(keys.map(async (done) => (await ledger.look(null, done, new Date(0))).done)))
        .map((done, i) => (done ? i : -1))
        .filter((i) => i >= 0)
    expect(await ledger.forget(minutesAfter(then, 3), 2)).toBe(2)
    expect(await left()).toEqual([2, 3, 4])
    expect(await ledger.forget(minutesAfter(then, 3), 1000)).toBe(2)
    expect(await left()).toEqual([4])
    expect(await ledger.forget(minutesAfter(then, 3), 1000)).toBe(0)
    expect(await ledger.forget(minutesAfter(then, 4), 1000)).toBe(1)
  })

  test('several that forget at once drop each key once', async () => {
    const [ledger, other] = [ledgerOf(), otherOf()]
    const then = new Date('2002-01-01T00:00:00.000Z')
    await Promise.all(range(100).map(() => ledger.note(doneOf({ expiresAt: then }), new Date(0))))
    const dropped = await Promise.all(range(8).map((i) => (i % 2 ? ledger : other).forget(then, 1000)))
    expect(dropped.reduce((sum, count) => sum + count, 0)).toBe(100)
  })
}

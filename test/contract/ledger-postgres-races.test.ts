import { randomUUID } from 'node:crypto'
import { beforeAll, afterAll, describe, expect, it } from 'vitest'
import type { UploadLedger } from '../../src/core/ports/ledger.ts'
import { createLedger } from '../../src/ledger/ledger.ts'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openDb } from '../../src/ledger/open.ts'
import { findPostgres, onServer } from '../support/postgres.ts'
import { eventually } from '../support/slow-request.ts'
import {
  bytes,
  commitOf,
  EXPIRY,
  LATER,
  minutesAfter,
  newUpload,
  range,
  wholeCell,
} from './ledger-fixture.ts'
import { watching } from './ledger-statements.ts'

const postgres = await findPostgres()
const ROUNDS = 25

/** Nodes of a cluster, as PostgreSQL sees them: each with connections of its own. */
describe.skipIf(!postgres.available)('several ledgers on one PostgreSQL', () => {
  let url: string
  let nodes: UploadLedger[]
  beforeAll(async () => {
    url = await postgres.database()
    await migrateUp(url)
    nodes = await Promise.all(range(3).map(async () => createLedger(await openDb(url))))
  })
  afterAll(() => Promise.all(nodes.map((node) => node.close())))

  const [first, second] = [() => nodes[0] as UploadLedger, () => nodes[1] as UploadLedger]
  const node = (i: number) => nodes[i % nodes.length] as UploadLedger
  /** Deadlocks so far; the server has counted them once the connections are closed. */
  const deadlocks = () =>
    onServer(url, async (client) => {
      const open = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'crowd'`
      await eventually(async () => (await client.query(open)).rows.length === 0, 'the connections are closed')
      const { rows } = await client.query<{ deadlocks: string }>(
        'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
      )
      return Number(rows[0]?.deadlocks)
    })

  it('batches that touch the same uploads in any order all count, and never deadlock', async () => {
    const ids = await Promise.all(
      range(20).map(async () => (await first().create(newUpload({ size: 900 }))).id),
    )
    const crowd = await Promise.all(
      range(3).map(async () => createLedger(await openDb(`${url}?application_name=crowd`))),
    )
    // Every node commits cells of its own of every upload, each in another order.
    const done = await Promise.all(
      crowd.flatMap((ledger, n) =>
        range(30).flatMap((round) =>
          (n % 2 ? ids : ids.toReversed()).map((id) =>
            ledger.commit(commitOf(id, [wholeCell(round * 3 + n, 10)], { whenFull: 'FINALIZING' })),
          ),
        ),
      ),
    )
    expect(done.every(({ ok }) => ok)).toBe(true)
    expect(done.filter((each) => each.ok && each.reached === 'FINALIZING')).toHaveLength(20)
    for (const upload of await first().getAll(ids))
      expect(upload).toMatchObject({ status: 'FINALIZING', offset: 900, storedCells: 90 })
    await Promise.all(crowd.map((ledger) => ledger.close()))
    expect(await deadlocks()).toBe(0)
  })

  it('uploads of owners with a quota are created, grow and go side by side without a deadlock', async () => {
    const crowd = await Promise.all(
      range(3).map(async () =>
        createLedger(await openDb(`${url}?application_name=crowd`), { maxBytesPerUser: 1_000 }),
      ),
    )
    const before = await deadlocks()
    const owners = range(3).map(() => randomUUID())
    const done = await Promise.all(
      range(120).map(async (i) => {
        const ledger = crowd[i % 3] as UploadLedger
        const fresh = newUpload({ ownerId: owners[(i % 4) % 3] as string, size: i % 2 ? null : 5 })
        const { id } = await ledger.create(fresh)
        await (crowd[(i + 1) % 3] as UploadLedger).commit(commitOf(id, [bytes(0, 0, 3)]))
        return (crowd[(i + 2) % 3] as UploadLedger).markDeleted(id, LATER)
      }),
    )
    expect(done.every((upload) => upload !== null)).toBe(true)
    for (const ownerId of owners) {
      const all = await (crowd[0] as UploadLedger).create(newUpload({ ownerId, size: 1_000 }))
      expect(all.status).toBe('INITIATED')
    }
    await Promise.all(crowd.map((ledger) => ledger.close()))
    expect(await deadlocks()).toBe(before)
  })

  it('of writers of the same cell exactly one wins, on whatever node', async () => {
    for (const round of range(ROUNDS)) {
      const { id } = await first().create(newUpload())
      const done = await Promise.all(
        range(6).map((i) => node(i).commit(commitOf(id, [bytes(0, 0, 3 + i), wholeCell(1)]))),
      )
      expect({ round, won: done.filter(({ ok }) => ok).length }).toEqual({ round, won: 1 })
      const won = done.find(({ ok }) => ok)
      expect(await second().get(id)).toEqual(won?.upload)
      expect(await second().get(id)).toMatchObject({ storedCells: 1 })
    }
  })

  it('the last commit and complete: the upload leaves IN_PROGRESS once', async () => {
    for (const round of range(ROUNDS)) {
      const { id } = await first().create(newUpload())
      await first().commit(
        commitOf(
          id,
          [0, 1, 2, 3].map((index) => wholeCell(index)),
        ),
      )
      const results = await Promise.all([
        first().commit(commitOf(id, [wholeCell(4)], { whenFull: 'FINALIZING' })),
        ...range(5).map((i) => node(i).transition(id, 'FINALIZING', LATER)),
      ])
      const moved = results.filter(
        (each) => each === true || (typeof each === 'object' && each.ok && each.reached),
      )
      expect({ round, moved: moved.length }).toEqual({ round, moved: 1 })
      const completed = await Promise.all(range(6).map((i) => node(i).transition(id, 'COMPLETED', LATER)))
      expect(completed.filter(Boolean)).toHaveLength(1)
    }
  })

  it('expiry and a commit: either the bytes count, or the upload expires without them', async () => {
    const outcomes = new Set<string>()
    for (const round of range(ROUNDS * 2)) {
      const { id } = await first().create(newUpload())
      const now = minutesAfter(EXPIRY, 1)
      const commit = () => first().commit(commitOf(id, [wholeCell(0)], { expiresAt: minutesAfter(now, 60) }))
      const expire = () => second().expire(id, now)
      const [committed, expired] =
        round % 2
          ? await Promise.all([commit(), expire()])
          : ((await Promise.all([expire(), commit()])).toReversed() as [
              Awaited<ReturnType<typeof commit>>,
              boolean,
            ])
      expect({ round, one: committed.ok !== expired }).toEqual({ round, one: true })
      const cells = await first().storedCells(id)
      expect(cells).toEqual(expired ? [] : [0])
      expect(await first().get(id)).toMatchObject(
        expired
          ? { status: 'EXPIRING', storedCells: 0, offset: 0 }
          : { status: 'IN_PROGRESS', storedCells: 1 },
      )
      outcomes.add(expired ? 'expired' : 'committed')
    }
    expect(outcomes.size).toBeGreaterThan(0)
  })

  it('freeing, declaring and committing keep count of the cells', async () => {
    for (const round of range(ROUNDS)) {
      const { id } = await first().create(newUpload({ size: null }))
      await first().commit(commitOf(id, [wholeCell(0), wholeCell(1), bytes(2, 0, 4)]))
      await Promise.all([
        first().freeCell(id, 0, LATER),
        second().freeCell(id, 0, LATER),
        second().declareSize(id, 24, LATER, null),
        node(2).commit(commitOf(id, [bytes(2, 4, 6)])),
      ])
      const upload = await first().get(id)
      const cells = await first().cells(id)
      const whole = cells.filter((cell) => cell.whole).length
      expect({ round, stored: upload?.storedCells }).toEqual({ round, stored: whole })
      expect(upload?.offset).toBe(0)
      // The length and the cell that it ends in agree, whichever came first.
      const last = cells.find(({ index }) => index === 2)
      if (upload?.size === null) expect(last).toMatchObject({ bytes: 6, whole: false })
      else expect(last).toMatchObject({ bytes: 4, whole: true })
    }
  })

  it('a final upload is made once, and again when the first was deleted at that moment', async () => {
    for (const round of range(ROUNDS)) {
      const key = randomUUID()
      const fresh = () => ({ ...newUpload({ dialect: 'tus', concat: 'final;/files/a' }), size: 45 })
      const existing = await first().createFinal(fresh(), key)
      const [deleted, ...made] = await Promise.all([
        second().markDeleted(existing.id, LATER),
        ...range(4).map((i) => node(i).createFinal(fresh(), key)),
      ])
      expect(deleted).not.toBeNull()
      // What was answered is there, or is the one that was deleted.
      const others = new Set(made.map(({ id }) => id).filter((id) => id !== existing.id))
      expect({ round, others: others.size <= 1 }).toEqual({ round, others: true })
      for (const id of others) expect(await first().get(id)).not.toBeNull()
      expect((await second().findFinal(key))?.id ?? null).toBe([...others][0] ?? null)
    }
  })

  it('a final upload whose rival was deleted between two statements is made after all', async () => {
    const key = randomUUID()
    const fresh = () => ({ ...newUpload({ dialect: 'tus', concat: 'final;/files/a' }), size: 45 })
    const rival = await first().createFinal(fresh(), key)
    const interrupted = watching(await openDb(url), async ({ sql }, run) => {
      const done = await run()
      if (/^\s*INSERT/.test(sql)) await second().markDeleted(rival.id, LATER)
      return done
    })
    const ledger = createLedger(interrupted)
    const made = await ledger.createFinal(fresh(), key)
    await ledger.close()
    expect(made.id).not.toBe(rival.id)
    expect(await first().get(made.id)).toEqual(made)
  })
})

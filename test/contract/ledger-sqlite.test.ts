import { DriverAdapterError } from '@prisma/driver-adapter-utils'
import Database from 'better-sqlite3'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { HttpError } from '../../src/core/errors.ts'
import { createDeliveries } from '../../src/ledger/deliveries.ts'
import { createLeases } from '../../src/ledger/leases.ts'
import { createLedger } from '../../src/ledger/ledger.ts'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openDb, type Db } from '../../src/ledger/open.ts'
import { commitOf, newUpload, range, START, wholeCell } from './ledger-fixture.ts'
import { askDeliveries, askEverything, askLeases, recording, watching } from './ledger-statements.ts'
import { ledgerContract } from './ledger.ts'

let folder: string
const fileOf = () => join(folder, 'uploads.db')
const urlOf = () => `file:${fileOf()}`
const newFolder = () => {
  folder = mkdtempSync(join(tmpdir(), 'ledger-'))
}
const dropFolder = () => rmSync(folder, { recursive: true })

ledgerContract('SQLite', async (options) => {
  const folder = mkdtempSync(join(tmpdir(), 'ledger-'))
  const url = `file:${folder}/uploads.db`
  await migrateUp(url)
  const dbs = [await openDb(url), await openDb(url)] as const
  const [ledger, other] = [createLedger(dbs[0], options), createLedger(dbs[1], options)]
  return {
    ledger,
    other,
    dbs,
    another: async (others) => createLedger(await openDb(url), others),
    async close() {
      await ledger.close()
      await other.close()
      rmSync(folder, { recursive: true })
    },
  }
})

describe('openDb', () => {
  beforeEach(newFolder)
  afterEach(dropFolder)

  it('makes the folder of a database that is not there yet', async () => {
    const db = await openDb(`file:${folder}/deep/down/a.db`)
    await db.client.$disconnect()
    expect(existsSync(`${folder}/deep/down/a.db`)).toBe(true)
  })

  it('takes file:/path, file:///path and options behind a question mark', async () => {
    for (const url of [`file:${folder}/a.db?x=1`, `file://${folder}/b.db`])
      await (await openDb(url)).client.$disconnect()
    expect(existsSync(`${folder}/a.db`) && existsSync(`${folder}/b.db`)).toBe(true)
  })

  it('refuses a URL of another database', async () => {
    await expect(openDb('mysql://localhost/uploads')).rejects.toThrow(/DATABASE_URL/)
  })

  it('uses write-ahead logging and foreign keys', async () => {
    const db = await openDb(urlOf())
    const settings = await Promise.all([
      db.client.$queryRaw`PRAGMA journal_mode`,
      db.client.$queryRaw`PRAGMA foreign_keys`,
      db.client.$queryRaw`PRAGMA synchronous`,
    ])
    expect(settings).toEqual([[{ journal_mode: 'wal' }], [{ foreign_keys: 1 }], [{ synchronous: 1 }]])
    await db.client.$disconnect()
  })
})

describe('commits', () => {
  beforeEach(newFolder)
  afterEach(dropFolder)

  it('are forced to the disk on request only', async () => {
    for (const [forceCommits, synchronous] of [
      [true, 2], // FULL
      [false, 1], // NORMAL
    ] as const) {
      const { client } = await openDb(urlOf(), { forceCommits })
      expect(await client.$queryRaw`PRAGMA synchronous`).toEqual([{ synchronous }])
      await client.$disconnect()
    }
  })
})

describe('the SQLite adapter', () => {
  let db: Db
  beforeEach(async () => {
    newFolder()
    await migrateUp(urlOf())
    db = await openDb(urlOf(), { busyTimeoutMs: 2_000 })
  })
  afterEach(async () => {
    await db.client.$disconnect()
    dropFolder()
  })

  it('a write beside a transaction survives its rollback', async () => {
    const ledger = createLedger(db)
    const inside = newUpload()
    const outside = newUpload()
    let created: Promise<unknown> | undefined
    const rolledBack = db.client.$transaction(async (tx) => {
      await createLedger({ ...db, client: tx as Db['client'] }).create(inside)
      created = ledger.create(outside)
      await new Promise((resolve) => setTimeout(resolve, 50))
      throw new Error('roll back')
    })
    await expect(rolledBack).rejects.toThrow('roll back')
    await created
    expect(await ledger.get(inside.id)).toBeNull()
    expect(await ledger.get(outside.id)).not.toBeNull()
  })

  it('creations whose database’s answer was lost are all to be tried again, though they may be there', async () => {
    let asked = 0
    const ledger = createLedger(
      watching(db, async (_sql, run) => {
        asked += 1
        await run()
        throw new DriverAdapterError({ kind: 'ConnectionClosed' })
      }),
    )
    const outcomes = await Promise.allSettled(range(20).map(() => ledger.create(newUpload())))
    const again: unknown = expect.objectContaining({ status: 503 })
    expect(outcomes).toEqual(range(20).map(() => ({ status: 'rejected', reason: again })))
    expect(asked).toBe(1)
  })

  it('a write waits for another connection’s lock without stopping the event loop', async () => {
    const ledger = createLedger(db)
    const { id } = await ledger.create(newUpload())
    const holder = new Database(fileOf())
    holder.exec('BEGIN IMMEDIATE')
    let released = false
    let ticks = 0
    const ticking = setInterval(() => ticks++, 5)
    setTimeout(() => {
      released = true
      holder.exec('COMMIT')
    }, 300)

    // A transaction and a single statement wait; a read goes on.
    const writes = [
      ledger.commit(commitOf(id, [wholeCell(0)])).then(() => released),
      ledger.create(newUpload()).then(() => released),
    ]
    expect(await ledger.get(id)).not.toBeNull()
    expect(released).toBe(false)
    expect(await Promise.all(writes)).toEqual([true, true])
    // Blocked, it would have ticked not once.
    expect(ticks).toBeGreaterThan(10)
    clearInterval(ticking)
    holder.close()
    expect((await ledger.get(id))?.offset).toBe(10)
  })

  it('a lock that outlasts the wait makes the ledger unavailable, and it recovers', async () => {
    const impatient = createLedger(await openDb(urlOf(), { busyTimeoutMs: 40 }))
    const { id } = await impatient.create(newUpload())
    const holder = new Database(fileOf())
    holder.exec('BEGIN IMMEDIATE')
    const refused = await Promise.allSettled([
      impatient.commit(commitOf(id, [wholeCell(0)])),
      impatient.commit(commitOf(id, [wholeCell(1)])),
      impatient.freeCell(id, 0, START),
      impatient.create(newUpload()),
      impatient.transition(id, 'ABORTED', START),
      impatient.purge(id),
    ])
    for (const each of refused)
      expect(each).toMatchObject({ status: 'rejected', reason: { code: 'unavailable', status: 503 } })
    holder.exec('ROLLBACK')
    holder.close()
    const done = await impatient.commit(commitOf(id, [wholeCell(0)]))
    expect(done).toMatchObject({ ok: true, upload: { status: 'IN_PROGRESS', storedCells: 1 } })
    await impatient.close()
  })

  it('an error other than a lock comes through as it is', async () => {
    const ledger = createLedger(db)
    const { id } = await ledger.create(newUpload())
    await db.client.$executeRaw`DROP TABLE chunks`
    const failures = await Promise.allSettled([
      ledger.commit(commitOf(id, [wholeCell(0)])),
      ledger.commit(commitOf(id, [wholeCell(1)])),
    ])
    for (const failure of failures) {
      expect(failure.status).toBe('rejected')
      const reason: unknown = (failure as PromiseRejectedResult).reason
      expect(reason).not.toBeInstanceOf(HttpError)
      expect(String(reason)).toContain('no such table')
    }
    // The failed transaction is over: others go on.
    expect((await ledger.get(id))?.offset).toBe(0)
    expect(await ledger.transition(id, 'ABORTED', START)).toBe(true)
  })

  it('a failed upload keeps the reason', async () => {
    const ledger = createLedger(db)
    const { id } = await ledger.create(newUpload({ size: 0 }))
    await ledger.transition(id, 'FINALIZING', START)
    await ledger.transition(id, 'FAILED', START, 'the bucket is gone')
    const rows = await db.client.$queryRaw`SELECT status, failure_reason FROM uploads WHERE id = ${id}`
    expect(rows).toEqual([{ status: 'FAILED', failure_reason: 'the bucket is gone' }])
  })

  it('check rejects when the tables are not there', async () => {
    const empty = createLedger(await openDb(`file:${folder}/empty.db`))
    await expect(empty.check()).rejects.toThrow()
    await empty.close()
  })

  it('close lets the commits under way finish', async () => {
    const ledger = createLedger(await openDb(urlOf()))
    const { id } = await ledger.create(newUpload({ size: 1000 }))
    const commits = range(100).map((index) => ledger.commit(commitOf(id, [wholeCell(index, 10)])))
    await ledger.close()
    expect((await Promise.all(commits)).every(({ ok }) => ok)).toBe(true)
    expect((await createLedger(db).get(id))?.storedCells).toBe(100)
  })
})

describe('query plans', () => {
  beforeEach(newFolder)
  afterEach(dropFolder)

  it('every raw query goes along an index, and sorts at most what it answers', async () => {
    await migrateUp(urlOf())
    const asked: string[] = []
    for (const maxBytesPerUser of [0, 1e9]) {
      const db = recording(await openDb(urlOf()), asked)
      const ledger = createLedger(db, { maxBytesPerUser })
      await askEverything(ledger)
      await askLeases(ledger, createLeases(db, 'a'))
      await ledger.close()
    }
    const urls = ['https://a.example/']
    const telling = recording(await openDb(urlOf()), asked)
    const ledger = createLedger(telling, { webhooks: { urls } })
    await askEverything(ledger)
    await askDeliveries(createDeliveries(telling), 'https://a.example/')
    await ledger.close()

    const client = new Database(fileOf())
    const plans = [...new Set(asked)].map((sql) => {
      const parameters = Array(sql.split('?').length - 1).fill('1') as string[]
      const steps = client.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(parameters) as { detail: string }[]
      return { sql, steps: steps.map(({ detail }) => detail) }
    })
    client.close()
    expect(plans.length).toBeGreaterThan(15)
    for (const { sql, steps } of plans) {
      const scans = steps.filter((step) =>
        /^SCAN (uploads|chunks|leases|idempotency_keys|owner_usage|webhook_deliveries|u|c|n|k|d|e)\b/.test(
          step,
        ),
      )
      // What a limited part of a query gave may be sorted again, not what is in a table.
      const sorts = steps.filter(
        (step, i) => /TEMP B-TREE/.test(step) && !steps[i - 1]?.startsWith('SCAN part'),
      )
      expect({ sql, scans, sorts }).toEqual({ sql, scans: [], sorts: [] })
    }
  })
})

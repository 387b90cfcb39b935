import { Client } from 'pg'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import type { UploadLedger } from '../../src/core/ports/ledger.ts'
import { Prisma } from '../../src/generated/sqlite/client.ts'
import { createLedger } from '../../src/ledger/ledger.ts'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openDb, type Db, type DbOptions } from '../../src/ledger/open.ts'
import { findPostgres, onServer, someWait } from '../support/postgres.ts'
import { eventually } from '../support/slow-request.ts'
import { bytes, commitOf, LATER, newUpload, range, START, wholeCell } from './ledger-fixture.ts'
import { ledgerContract } from './ledger.ts'

const postgres = await findPostgres()
const UNAVAILABLE = { code: 'unavailable', status: 503, headers: { 'Retry-After': '1' } }

async function migrated(): Promise<string> {
  const url = await postgres.database()
  await migrateUp(url)
  return url
}

describe.skipIf(!postgres.available)('the contract', () => {
  ledgerContract('PostgreSQL', async (options) => {
    const url = await migrated()
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
      },
    }
  })
})

describe.skipIf(!postgres.available)('the PostgreSQL adapter', () => {
  let url: string
  beforeEach(async () => {
    url = await migrated()
  })

  async function useLedger(options: DbOptions = {}): Promise<{ db: Db; ledger: UploadLedger }> {
    const db = await openDb(url, options)
    const ledger = createLedger(db)
    onTestFinished(() => ledger.close())
    return { db, ledger }
  }

  /** A connection beside the ledger's, as another program may have. */
  async function useClient(): Promise<Client> {
    const client = new Client({ connectionString: url })
    await client.connect()
    onTestFinished(() => client.end())
    return client
  }

  /** Makes every change of an upload fail as `code`, as often as told. */
  const failing = (code: string, times: number) =>
    onServer(url, (client) =>
      client.query(`
        CREATE SEQUENCE failures;
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          IF nextval('failures') <= ${times} THEN RAISE EXCEPTION 'made up' USING ERRCODE = '${code}'; END IF;
          RETURN NEW;
        END $$;
        CREATE TRIGGER fail BEFORE UPDATE ON uploads FOR EACH ROW EXECUTE FUNCTION fail()`),
    )

  it('its sessions are what the ledger needs, whatever the server is set to', async () => {
    const { db } = await useLedger({ statementTimeoutMs: 1_234 })
    const shown = async (name: string) => {
      const rows = await db.client.$queryRaw<Record<string, string>[]>(Prisma.raw(`SHOW ${name}`))
      return Object.values(rows[0] ?? {})[0]
    }
    expect(await shown('timezone')).toBe('UTC')
    expect(await shown('datestyle')).toMatch(/^ISO/)
    expect(await shown('transaction_isolation')).toBe('read committed')
    expect(await shown('statement_timeout')).toBe('1234ms')
    expect(await shown('idle_in_transaction_session_timeout')).toBe('617ms')
    expect(await shown('application_name')).toBe('upload-server')
  })

  it('options of the URL count, but for those that the ledger depends on', async () => {
    const options = '-c search_path=elsewhere -c timezone=Asia/Tokyo'
    await onServer(url, (client) => client.query('CREATE SCHEMA elsewhere'))
    url += `?application_name=mine&options=${encodeURIComponent(options)}`
    await migrateUp(url)
    const { db, ledger } = await useLedger()
    const { id } = await ledger.create(newUpload())
    expect(await ledger.get(id)).toMatchObject({ createdAt: START })
    const rows = await db.client.$queryRaw`
      SELECT count(*)::int AS n, current_setting('application_name') AS name, current_setting('timezone') AS zone
      FROM elsewhere.uploads`
    expect(rows).toEqual([{ n: 1, name: 'mine', zone: 'UTC' }])
  })

  it('a statement that comes again is prepared once, and long ones are not kept', async () => {
    const { db, ledger } = await useLedger({ poolSize: 1 })
    const { id } = await ledger.create(newUpload({ size: 10_000 }))
    const prepared = () =>
      db.client.$queryRaw<{ statement: string; uses: number }[]>`
        SELECT statement, generic_plans + custom_plans AS uses FROM pg_prepared_statements`
    for (const index of range(8)) {
      await ledger.get(id)
      await ledger.commit(commitOf(id, [wholeCell(index, 10)]))
    }
    const kept = await prepared()
    const uses = kept.map((each) => each.uses)
    expect(kept.map(({ statement }) => statement)).toHaveLength(new Set(kept.map((k) => k.statement)).size)
    // The one of `create` ran once, and before the first whole cell no prefix goes on.
    expect(uses.filter((count) => count >= 7).length).toBeGreaterThanOrEqual(5)

    await ledger.commit(
      commitOf(
        id,
        range(200).map((i) => wholeCell(i + 8, 10)),
      ),
    )
    expect((await ledger.get(id))?.storedCells).toBe(208)
    const long = (await prepared()).filter(({ statement }) => statement.includes('$65'))
    expect(long).toEqual([])
  })

  it('a statement that waits for a lock for too long makes the ledger unavailable, and it recovers', async () => {
    const { ledger } = await useLedger({ statementTimeoutMs: 300 })
    const { id } = await ledger.create(newUpload())
    const holder = await useClient()
    await holder.query('BEGIN')
    await holder.query('SELECT 1 FROM uploads WHERE id = $1 FOR UPDATE', [id])
    const refused = await Promise.allSettled([
      ledger.commit(commitOf(id, [wholeCell(0)])),
      ledger.freeCell(id, 0, LATER),
      ledger.transition(id, 'ABORTED', LATER),
      ledger.setExpiry([id], LATER),
      ledger.purge(id),
    ])
    for (const each of refused) expect(each).toMatchObject({ status: 'rejected', reason: UNAVAILABLE })
    // Reading needs no lock.
    expect(await ledger.get(id)).toMatchObject({ status: 'INITIATED' })
    await holder.query('ROLLBACK')
    expect(await ledger.commit(commitOf(id, [wholeCell(0)]))).toMatchObject({ ok: true })
  })

  it('a process that stops in mid-transaction loses what it holds before the others give up', async () => {
    const { db, ledger } = await useLedger({ statementTimeoutMs: 2_000 })
    const { ledger: other } = await useLedger({ statementTimeoutMs: 2_000 })
    const { id } = await ledger.create(newUpload())
    let stopped!: () => void
    const held = new Promise<void>((resolve) => (stopped = resolve))
    let resume!: () => void
    const asleep = new Promise<void>((resolve) => (resume = resolve))
    const sleeper = db.client.$transaction(async (tx) => {
      await tx.$queryRaw`SELECT 1 FROM uploads WHERE id = ${id} FOR UPDATE`
      stopped()
      await asleep
    })
    await held
    expect(await other.commit(commitOf(id, [wholeCell(0)]))).toMatchObject({ ok: true })
    resume()
    await expect(sleeper).rejects.toThrow()
    expect(await ledger.get(id)).toMatchObject({ storedCells: 1 })
  })

  it('more calls than connections wait for one, and give up when none becomes free', async () => {
    const { ledger } = await useLedger({ poolSize: 1, statementTimeoutMs: 20_000 })
    const { id } = await ledger.create(newUpload())
    expect(await Promise.all(range(50).map(() => ledger.get(id)))).toHaveLength(50)

    const holder = await useClient()
    await holder.query('BEGIN')
    await holder.query('SELECT 1 FROM uploads WHERE id = $1 FOR UPDATE', [id])
    const waiting = ledger.transition(id, 'ABORTED', LATER)
    for (const each of await Promise.allSettled([ledger.get(id), ledger.check()]))
      expect(each).toMatchObject({ status: 'rejected', reason: UNAVAILABLE })
    await holder.query('COMMIT')
    expect(await waiting).toBe(true)
    expect(await ledger.get(id)).toMatchObject({ status: 'ABORTED' })
  })

  it('a server that takes no more connections makes the ledger unavailable, and it recovers', async () => {
    const role = `crowded_${Date.now()}`
    await onServer(url, async (client) => {
      await client.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x' CONNECTION LIMIT 1`)
      await client.query(`GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role}`)
    })
    const admin = url
    url = Object.assign(new URL(url), { username: role, password: 'x' }).href
    const crowd = await useClient()
    const { ledger } = await useLedger()
    await expect(ledger.check()).rejects.toMatchObject(UNAVAILABLE)
    await expect(ledger.commit(commitOf(newUpload().id, []))).rejects.toMatchObject(UNAVAILABLE)
    await crowd.end()
    await eventually(
      () =>
        ledger.check().then(
          () => true,
          () => false,
        ),
      'there is room for a connection again',
    )
    await ledger.close()
    await onServer(admin, (client) => client.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`))
  })

  it.each(['40001', '40P01'])('what another transaction broke (%s) is tried again', async (code) => {
    const { ledger } = await useLedger()
    const ids = await Promise.all(
      range(3).map(async () => (await ledger.create(newUpload({ size: null }))).id),
    )
    await failing(code, 4)
    // Two commits that build on each other, in one transaction, stay in their order.
    const done = await Promise.all([
      ledger.commit(commitOf(ids[0] as string, [bytes(0, 0, 4)])),
      ledger.commit(commitOf(ids[0] as string, [bytes(0, 4, 9)])),
    ])
    expect(done.map(({ ok }) => ok)).toEqual([true, true])
    await onServer(url, (client) => client.query(`SELECT setval('failures', 1)`))
    expect(await ledger.declareSize(ids[1] as string, 7, LATER, null)).toMatchObject({ ok: true })
    await onServer(url, (client) => client.query(`SELECT setval('failures', 1)`))
    await ledger.setExpiry([ids[2] as string], LATER)
    expect(await ledger.get(ids[2] as string)).toMatchObject({ expiresAt: LATER })
  })

  it('what is broken again and again is given up, unavailable', async () => {
    const { ledger } = await useLedger()
    const { id } = await ledger.create(newUpload())
    await failing('40P01', 1_000)
    await expect(ledger.commit(commitOf(id, [bytes(0, 0, 4)]))).rejects.toMatchObject(UNAVAILABLE)
    expect(await ledger.get(id)).toMatchObject({ offset: 0 })
  })

  it('a real deadlock with another program is got over', async () => {
    const { ledger } = await useLedger()
    const [a, b] = (await Promise.all(range(2).map(() => ledger.create(newUpload()))))
      .map(({ id }) => id)
      .toSorted() as [string, string]
    const rival = await useClient()
    // It is the ledger that notices first, and has to give way.
    await rival.query(`SET deadlock_timeout = '60s'`)
    await rival.query('BEGIN')
    await rival.query('SELECT 1 FROM uploads WHERE id = $1 FOR UPDATE', [b])
    const commits = [a, b].map((id) => ledger.commit(commitOf(id, [wholeCell(0)])))
    await onServer(url, (client) =>
      eventually(() => someWait(client), 'the ledger has one and waits for the other'),
    )
    await rival.query('SELECT 1 FROM uploads WHERE id = $1 FOR UPDATE', [a])
    await rival.query('COMMIT')
    expect((await Promise.all(commits)).map(({ ok }) => ok)).toEqual([true, true])
    // The server has counted it once the connection is closed.
    await ledger.close()
    const counted = 'SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()'
    await eventually(
      async () => (await onServer(url, (client) => client.query(counted))).rows[0].deadlocks > 0,
      'there was a deadlock',
    )
  })

  it('a full disk is told as one', async () => {
    const { ledger } = await useLedger()
    const { id } = await ledger.create(newUpload())
    await failing('53100', 1_000)
    const full = { code: 'insufficient_storage', status: 507 }
    await expect(ledger.commit(commitOf(id, [wholeCell(0)]))).rejects.toMatchObject(full)
    await expect(ledger.transition(id, 'ABORTED', LATER)).rejects.toMatchObject(full)
  })

  it('an error that another try would not cure comes through as it is', async () => {
    const { ledger } = await useLedger()
    const { id } = await ledger.create(newUpload())
    await onServer(url, (client) => client.query('DROP TABLE chunks'))
    const failure: unknown = await ledger
      .commit(commitOf(id, [wholeCell(0)]))
      .catch((error: unknown) => error)
    expect(failure).not.toHaveProperty('status')
    expect(String(failure)).toContain('chunks')
    expect(await ledger.transition(id, 'ABORTED', START)).toBe(true)
  })

  it('close lets the commits under way finish', async () => {
    const { db } = await useLedger()
    const ledger = createLedger(await openDb(url))
    const { id } = await ledger.create(newUpload({ size: 1000 }))
    const commits = range(100).map((index) => ledger.commit(commitOf(id, [wholeCell(index, 10)])))
    await ledger.close()
    expect((await Promise.all(commits)).every(({ ok }) => ok)).toBe(true)
    expect((await createLedger(db).get(id))?.storedCells).toBe(100)
  })
})

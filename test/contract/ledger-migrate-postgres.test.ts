import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { wholeSchema } from '../../scripts/migration.ts'
import { migrateDown, migrateUp, migrationStatus } from '../../src/ledger/migrate.ts'
import { findPostgres, onServer } from '../support/postgres.ts'
import { eventually } from '../support/slow-request.ts'

const postgres = await findPostgres()
const PRISMA = join(import.meta.dirname, '..', '..', 'prisma')
const SECOND = '20990101000000_second'
const TABLES = [
  '_prisma_migrations',
  'chunks',
  'idempotency_keys',
  'leases',
  'owner_usage',
  'signing_keys',
  'uploads',
  'webhook_deliveries',
]

describe.skipIf(!postgres.available)('migrate on PostgreSQL', () => {
  let url: string
  let folder: string
  let migrations: string
  beforeEach(async () => {
    url = await postgres.database()
    folder = mkdtempSync(join(tmpdir(), 'migrate-'))
    migrations = join(folder, 'migrations')
    cpSync(join(PRISMA, 'migrations'), migrations, { recursive: true })
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const names = async () => (await migrationStatus(url, migrations)).map(({ name }) => name)
  const applied = async () =>
    (await migrationStatus(url, migrations)).filter((each) => each.applied).map(({ name }) => name)
  const ask = <T>(sql: string, values: unknown[] = []) =>
    onServer(url, async (client) => (await client.query(sql, values)).rows as T[])
  const tables = async () =>
    (
      await ask<{ name: string }>(
        `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1`,
      )
    ).map(({ name }) => name)

  function addMigration(up: string, down: string | null): void {
    const target = join(migrations, 'postgresql', SECOND)
    mkdirSync(target)
    writeFileSync(join(target, 'migration.sql'), up)
    if (down !== null) writeFileSync(join(target, 'down.sql'), down)
  }

  it('up applies each migration once, in order, and status tells', async () => {
    addMigration('CREATE TABLE extra (a TEXT);', 'DROP TABLE extra;')
    const all = await names()
    expect(all.at(-1)).toBe(SECOND)
    expect(await migrateUp(url, migrations)).toEqual(all)
    expect(await migrateUp(url, migrations)).toEqual([])
    expect(await migrationStatus(url, migrations)).toEqual(
      all.map((name) => ({ name, applied: true, reversible: true })),
    )
    expect(await tables()).toEqual([...TABLES, 'extra'].toSorted())
  })

  it('down undoes the newest first, as many as asked for, and up brings them back', async () => {
    addMigration('CREATE TABLE extra (a TEXT);', 'DROP TABLE extra;')
    const all = await migrateUp(url, migrations)
    expect(await migrateDown(url, 1, migrations)).toEqual([SECOND])
    expect(await tables()).toEqual(TABLES)
    expect(await migrateDown(url, 99, migrations)).toEqual(all.slice(0, -1).toReversed())
    expect(await tables()).toEqual(['_prisma_migrations'])
    expect(await migrateUp(url, migrations)).toEqual(all)
  })

  it('a script may have semicolons in its bodies', async () => {
    addMigration(
      `CREATE FUNCTION two() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; RETURN 2; END; $$;
       CREATE TABLE extra AS SELECT two() AS a, 'a;b' AS b;`,
      null,
    )
    await migrateUp(url, migrations)
    expect(await ask('SELECT * FROM extra')).toEqual([{ a: 2, b: 'a;b' }])
  })

  it('a migration that fails leaves nothing behind', async () => {
    const first = await names()
    addMigration('CREATE TABLE extra (a TEXT); INSERT INTO nowhere VALUES (1);', '')
    await expect(migrateUp(url, migrations)).rejects.toThrow(/nowhere/)
    expect(await tables()).not.toContain('extra')
    expect(await applied()).toEqual(first)
  })

  it('a migration without down.sql is not undone', async () => {
    addMigration('CREATE TABLE extra (a TEXT);', null)
    await migrateUp(url, migrations)
    await expect(migrateDown(url, 1, migrations)).rejects.toThrow(/down\.sql/)
    expect(await tables()).toContain('extra')
  })

  it('a migration that was changed after it was applied stops everything', async () => {
    await migrateUp(url, migrations)
    appendFileSync(
      join(migrations, 'postgresql', (await names())[0] as string, 'migration.sql'),
      '\n-- changed',
    )
    await expect(migrateUp(url, migrations)).rejects.toThrow(/changed/)
    await expect(migrationStatus(url, migrations)).rejects.toThrow(/changed/)
  })

  it('a database of a newer program is refused', async () => {
    addMigration('CREATE TABLE extra (a TEXT);', 'DROP TABLE extra;')
    await migrateUp(url, migrations)
    rmSync(join(migrations, 'postgresql', SECOND), { recursive: true })
    await expect(migrateUp(url, migrations)).rejects.toThrow(/newer/)
  })

  it('a migration that another tool has left failed is refused', async () => {
    await migrateUp(url, migrations)
    await ask('UPDATE _prisma_migrations SET finished_at = NULL')
    await expect(migrateUp(url, migrations)).rejects.toThrow(/failed/)
  })

  it('processes that start at once apply each migration once between them', async () => {
    const results = await Promise.all(Array.from({ length: 8 }, () => migrateUp(url, migrations)))
    expect(results.filter((each) => each.length > 0)).toEqual([await names()])
    expect(await ask('SELECT migration_name FROM _prisma_migrations')).toHaveLength((await names()).length)
  })

  it('whoever comes while another migrates waits for it', async () => {
    await onServer(url, async (client) => {
      await client.query('SELECT pg_advisory_lock(72707369)')
      const waiting = migrateUp(url, migrations)
      await eventually(async () => {
        const { rows } = await client.query(
          `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
        )
        return rows.length === 1
      }, 'it waits for the lock')
      expect(await tables()).toEqual([])
      await client.query('SELECT pg_advisory_unlock(72707369)')
      expect(await waiting).toEqual(await names())
    })
  })

  it('the script migrates what DATABASE_URL names, and tells', async () => {
    const root = join(import.meta.dirname, '..', '..')
    const run = async (...args: string[]) => {
      const tsx = join(root, 'node_modules', '.bin', 'tsx')
      const env = { ...process.env, DATABASE_URL: url }
      const { stdout } = await promisify(execFile)(
        tsx,
        [join(root, 'src', 'cli', 'main.ts'), 'migrate', ...args],
        {
          env,
        },
      )
      return stdout
    }
    expect(await run('up')).toContain(`applied: ${(await names()).join(', ')}`)
    expect(await run('status')).toContain((await names())[0])
    expect(await run('down')).toContain(`rolled back: ${(await names()).at(-1)}`)
  })

  it('a database of another encoding is refused', async () => {
    const name = `latin_${Date.now()}`
    await ask(`CREATE DATABASE ${name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`)
    const latin = Object.assign(new URL(url), { pathname: `/${name}` }).href
    await expect(migrateUp(latin, migrations)).rejects.toThrow(/UTF8, not LATIN1/)
    await ask(`DROP DATABASE ${name}`)
  })

  it('a server that is not there is named, without the password', async () => {
    const gone = Object.assign(new URL(url), { port: '1', password: 'secret' }).href
    const failure: unknown = await migrateUp(gone, migrations).catch((error: unknown) => error)
    const { host, pathname } = new URL(gone)
    expect(String(failure)).toContain(`${host}${pathname} can't be reached: `)
    expect(String(failure)).toContain('ECONNREFUSED')
    expect(String(failure)).not.toContain('secret')
  })

  it('a server that says nothing is given up, and named', async () => {
    const silent = createServer().listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const failure = migrateUp(`postgresql://ada:secret@127.0.0.1:${port}/uploads`, migrations)
    await expect(failure).rejects.toThrow(`ada@127.0.0.1:${port}/uploads can't be reached: `)
    silent.close()
  })

  it('the migrations lead to the schema', async () => {
    await migrateUp(url)
    const migrated = await catalogOf(url)
    const other = await postgres.database()
    await onServer(other, async (client) => client.query(await wholeSchema(PRISMA, 'postgresql')))
    expect(migrated.columns.length).toBeGreaterThan(30)
    expect(migrated).toEqual(await catalogOf(other))
  })
})

/** What a database consists of, but for the table of migrations. */
const catalogOf = (url: string) =>
  onServer(url, async (client) => {
    const rowsOf = async (sql: string) => (await client.query<Record<string, unknown>>(sql)).rows
    const ours = `<> '_prisma_migrations'`
    return {
      columns: await rowsOf(`
        SELECT table_name, column_name, data_type, datetime_precision, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name ${ours} ORDER BY 1, 2`),
      indexes: await rowsOf(
        `SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename ${ours} ORDER BY 1`,
      ),
      constraints: await rowsOf(`
        SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text ${ours} ORDER BY 1, 2`),
    }
  })

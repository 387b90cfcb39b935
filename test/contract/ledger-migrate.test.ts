import Database from 'better-sqlite3'
import { execFile } from 'node:child_process'
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findDrift, newMigration } from '../../scripts/migration.ts'
import { migrateDown, migrateUp, migrationStatus } from '../../src/ledger/migrate.ts'

const PRISMA = join(import.meta.dirname, '..', '..', 'prisma')
const SECOND = '20990101000000_second'

let folder: string
let prisma: string
let migrations: string
let file: string
let url: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'migrate-'))
  prisma = join(folder, 'prisma')
  migrations = join(prisma, 'migrations')
  cpSync(PRISMA, prisma, { recursive: true })
  file = join(folder, 'data', 'a.db')
  url = `file:${file}`
})
afterEach(() => rmSync(folder, { recursive: true }))

const names = () => migrationStatus(url, migrations).map(({ name }) => name)

function addMigration(up: string, down: string | null): void {
  mkdirSync(join(migrations, SECOND))
  writeFileSync(join(migrations, SECOND, 'migration.sql'), up)
  if (down !== null) writeFileSync(join(migrations, SECOND, 'down.sql'), down)
}

function inDatabase<T>(work: (client: Database.Database) => T): T {
  const client = new Database(file)
  try {
    return work(client)
  } finally {
    client.close()
  }
}

const tables = () =>
  inDatabase((client) =>
    (client.prepare(`SELECT name FROM sqlite_master WHERE type = 'table'`).all([]) as { name: string }[])
      .map(({ name }) => name)
      .toSorted(),
  )

describe('migrate', () => {
  it('up applies each migration once, in order, and status tells', () => {
    addMigration('CREATE TABLE extra (a TEXT);', 'DROP TABLE extra;')
    const all = names()
    expect(all.at(-1)).toBe(SECOND)
    expect(migrateUp(url, migrations)).toEqual(all)
    expect(migrateUp(url, migrations)).toEqual([])
    expect(migrationStatus(url, migrations).every(({ applied, reversible }) => applied && reversible)).toBe(
      true,
    )
    expect(tables()).toEqual(['_prisma_migrations', 'chunks', 'extra', 'leases', 'uploads'])
  })

  it('down undoes the newest first, as many as asked for, and up brings them back', () => {
    addMigration('CREATE TABLE extra (a TEXT);', 'DROP TABLE extra;')
    const all = migrateUp(url, migrations)
    expect(migrateDown(url, 1, migrations)).toEqual([SECOND])
    expect(tables()).toEqual(['_prisma_migrations', 'chunks', 'leases', 'uploads'])
    expect(migrateDown(url, 99, migrations)).toEqual(all.slice(0, -1).toReversed())
    expect(tables()).toEqual(['_prisma_migrations'])
    expect(migrateUp(url, migrations)).toEqual(all)
  })

  it('a migration that fails leaves nothing behind', () => {
    const first = names()
    addMigration('CREATE TABLE extra (a TEXT); INSERT INTO nowhere VALUES (1);', '')
    expect(() => migrateUp(url, migrations)).toThrow(/nowhere/)
    expect(tables()).not.toContain('extra')
    expect(
      migrationStatus(url, migrations)
        .filter(({ applied }) => applied)
        .map(({ name }) => name),
    ).toEqual(first)
  })

  it('rebuilding a table keeps the rows that refer to it', () => {
    migrateUp(url, migrations)
    inDatabase((client) => {
      client.exec(`INSERT INTO uploads (id, owner_id, dialect, file_name, chunk_size, status, metadata, created_at, updated_at, expires_at)
                   VALUES ('u', 'o', 'tus', 'f', 1, 'INITIATED', '{}', '', '', '')`)
      client.exec(`INSERT INTO chunks (upload_id, chunk_index, size, status, created_at, updated_at)
                   VALUES ('u', 0, 1, 'PARTIAL', '', '')`)
    })
    const rebuild = `CREATE TABLE new_uploads AS SELECT * FROM uploads; DROP TABLE uploads;
      ALTER TABLE new_uploads RENAME TO uploads; CREATE UNIQUE INDEX again ON uploads (id);`
    addMigration(rebuild, null)
    migrateUp(url, migrations)
    expect(inDatabase((client) => client.prepare('SELECT * FROM chunks').all([]))).toHaveLength(1)
  })

  it('a migration that breaks foreign keys is not applied', () => {
    addMigration(
      `INSERT INTO chunks (upload_id, chunk_index, size, status, created_at, updated_at)
       VALUES ('nobody', 0, 1, 'PARTIAL', '', '')`,
      '',
    )
    expect(() => migrateUp(url, migrations)).toThrow(/foreign keys/)
    expect(inDatabase((client) => client.prepare('SELECT * FROM chunks').all([]))).toEqual([])
  })

  it('a migration without down.sql is not undone', () => {
    addMigration('CREATE TABLE extra (a TEXT);', null)
    migrateUp(url, migrations)
    expect(() => migrateDown(url, 1, migrations)).toThrow(/down\.sql/)
    expect(tables()).toContain('extra')
  })

  it('a migration that was changed after it was applied stops everything', () => {
    migrateUp(url, migrations)
    appendFileSync(join(migrations, names()[0] as string, 'migration.sql'), '\n-- changed')
    expect(() => migrateUp(url, migrations)).toThrow(/changed/)
  })

  it('a database of a newer program is refused', () => {
    addMigration('CREATE TABLE extra (a TEXT);', 'DROP TABLE extra;')
    migrateUp(url, migrations)
    rmSync(join(migrations, SECOND), { recursive: true })
    expect(() => migrateUp(url, migrations)).toThrow(/newer/)
  })

  it('two processes that migrate at once apply each migration once between them', async () => {
    const tsx = join(import.meta.dirname, '..', '..', 'node_modules', '.bin', 'tsx')
    const script = join(import.meta.dirname, '..', '..', 'scripts', 'migrate.ts')
    const run = () => promisify(execFile)(tsx, [script, 'up'], { env: { ...process.env, DATABASE_URL: url } })
    const outputs = (await Promise.all([run(), run()])).map(({ stdout }) => stdout)
    expect(outputs.filter((output) => output.includes('nothing'))).toHaveLength(1)
  })
})

describe('drift', () => {
  const schema = () => join(prisma, 'schema.prisma')
  const addField = () =>
    writeFileSync(
      schema(),
      readFileSync(schema(), 'utf8').replace('failureReason', 'extra String?\n  failureReason'),
    )

  it('the migrations of this program lead to its schema', async () => {
    expect(await findDrift(PRISMA)).toEqual([])
  })

  it('a schema that changed without a migration is found, by snapshot and by replay', async () => {
    addField()
    const findings = await findDrift(prisma)
    expect(findings).toHaveLength(2)
    expect(findings.join()).toContain('"extra"')
  })

  it('a migration that was edited is found by replay', async () => {
    const [name] = readdirSync(migrations)
    appendFileSync(
      join(migrations, name as string, 'migration.sql'),
      '\nDROP INDEX "uploads_deleted_at_idx";',
    )
    const findings = await findDrift(prisma)
    expect(findings).toHaveLength(1)
    expect(findings[0]).toContain('uploads_deleted_at_idx')
  })

  it('a missing down.sql is found', async () => {
    const [name] = readdirSync(migrations)
    rmSync(join(migrations, name as string, 'down.sql'))
    expect(await findDrift(prisma)).toEqual([`${name} has no down.sql`])
  })

  it('a new migration ends the drift, and goes up and down', async () => {
    expect(await newMigration(prisma, 'nothing')).toBeNull()
    addField()
    expect(await newMigration(prisma, 'extra', new Date('2099-01-01T00:00:00.000Z'))).toBe(
      join(migrations, '20990101000000_extra'),
    )
    expect(await findDrift(prisma)).toEqual([])
    const columns = () =>
      inDatabase((client) => client.prepare('PRAGMA table_info(uploads)').all([]) as { name: string }[])
    migrateUp(url, migrations)
    expect(columns().map(({ name }) => name)).toContain('extra')
    migrateDown(url, 1, migrations)
    expect(columns().map(({ name }) => name)).not.toContain('extra')
  })
})

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
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { findDrift, newMigration } from '../../scripts/migration.ts'
import { migrateDown, migrateUp, migrationStatus } from '../../src/ledger/migrate.ts'

const PRISMA = join(import.meta.dirname, '..', '..', 'prisma')
const SECOND = '20990101000000_second'

let folder: string
let prisma: string
let migrations: string
let sqlite: string
let file: string
let url: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'migrate-'))
  prisma = join(folder, 'prisma')
  migrations = join(prisma, 'migrations')
  sqlite = join(migrations, 'sqlite')
  cpSync(PRISMA, prisma, { recursive: true })
  file = join(folder, 'data', 'a.db')
  url = `file:${file}`
})
afterEach(() => rmSync(folder, { recursive: true }))

const names = async () => (await migrationStatus(url, migrations)).map(({ name }) => name)

function addMigration(up: string, down: string | null): void {
  mkdirSync(join(sqlite, SECOND))
  writeFileSync(join(sqlite, SECOND, 'migration.sql'), up)
  if (down !== null) writeFileSync(join(sqlite, SECOND, 'down.sql'), down)
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
    (
      client
        .prepare(`SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`)
        .all([]) as { name: string }[]
    )
      .map(({ name }) => name)
      .toSorted(),
  )

describe('migrate', () => {
  it('up applies each migration once, in order, and status tells', async () => {
    addMigration('CREATE TABLE extra (a TEXT);', 'DROP TABLE extra;')
    const all = await names()
    expect(all.at(-1)).toBe(SECOND)
    expect(await migrateUp(url, migrations)).toEqual(all)
    expect(await migrateUp(url, migrations)).toEqual([])
    expect(
      (await migrationStatus(url, migrations)).every(({ applied, reversible }) => applied && reversible),
    ).toBe(true)
    expect(tables()).toEqual([
      '_prisma_migrations',
      'chunks',
      'extra',
      'idempotency_keys',
      'leases',
      'owner_usage',
      'signing_keys',
      'uploads',
      'webhook_deliveries',
    ])
  })

  it('up waits for another process that has the new database locked', async () => {
    mkdirSync(dirname(file), { recursive: true })
    const other = new Database(file)
    other.exec('CREATE TABLE other (a TEXT)')
    other.exec('BEGIN EXCLUSIVE')
    const applying = migrateUp(url, migrations)
    await new Promise((resolve) => setTimeout(resolve, 200))
    other.exec('COMMIT')
    other.close()
    expect(await applying).toEqual(await names())
  })

  it('down undoes the newest first, as many as asked for, and up brings them back', async () => {
    addMigration('CREATE TABLE extra (a TEXT);', 'DROP TABLE extra;')
    const all = await migrateUp(url, migrations)
    expect(await migrateDown(url, 1, migrations)).toEqual([SECOND])
    expect(tables()).toEqual([
      '_prisma_migrations',
      'chunks',
      'idempotency_keys',
      'leases',
      'owner_usage',
      'signing_keys',
      'uploads',
      'webhook_deliveries',
    ])
    expect(await migrateDown(url, 99, migrations)).toEqual(all.slice(0, -1).toReversed())
    expect(tables()).toEqual(['_prisma_migrations'])
    expect(await migrateUp(url, migrations)).toEqual(all)
  })

  it('a migration that fails leaves nothing behind', async () => {
    const first = await names()
    addMigration('CREATE TABLE extra (a TEXT); INSERT INTO nowhere VALUES (1);', '')
    await expect(migrateUp(url, migrations)).rejects.toThrow(/nowhere/)
    expect(tables()).not.toContain('extra')
    expect(
      (await migrationStatus(url, migrations)).filter(({ applied }) => applied).map(({ name }) => name),
    ).toEqual(first)
  })

  it('rebuilding a table keeps the rows that refer to it', async () => {
    await migrateUp(url, migrations)
    inDatabase((client) => {
      client.exec(`INSERT INTO uploads (id, owner_id, dialect, file_name, chunk_size, status, metadata, created_at, updated_at, expires_at)
                   VALUES ('u', 'o', 'tus', 'f', 1, 'INITIATED', '{}', '', '', '')`)
      client.exec(`INSERT INTO chunks (upload_id, chunk_index, size, status, created_at, updated_at)
                   VALUES ('u', 0, 1, 'PARTIAL', '', '')`)
    })
    const rebuild = `CREATE TABLE new_uploads AS SELECT * FROM uploads; DROP TABLE uploads;
      ALTER TABLE new_uploads RENAME TO uploads; CREATE UNIQUE INDEX again ON uploads (id);`
    addMigration(rebuild, null)
    await migrateUp(url, migrations)
    expect(inDatabase((client) => client.prepare('SELECT * FROM chunks').all([]))).toHaveLength(1)
  })

  it('a migration that breaks foreign keys is not applied', async () => {
    addMigration(
      `INSERT INTO chunks (upload_id, chunk_index, size, status, created_at, updated_at)
       VALUES ('nobody', 0, 1, 'PARTIAL', '', '')`,
      '',
    )
    await expect(migrateUp(url, migrations)).rejects.toThrow(/foreign keys/)
    expect(inDatabase((client) => client.prepare('SELECT * FROM chunks').all([]))).toEqual([])
  })

  it('a migration without down.sql is not undone', async () => {
    addMigration('CREATE TABLE extra (a TEXT);', null)
    await migrateUp(url, migrations)
    await expect(migrateDown(url, 1, migrations)).rejects.toThrow(/down\.sql/)
    expect(tables()).toContain('extra')
  })

  it('a migration that was changed after it was applied stops everything', async () => {
    await migrateUp(url, migrations)
    appendFileSync(join(sqlite, (await names())[0] as string, 'migration.sql'), '\n-- changed')
    await expect(migrateUp(url, migrations)).rejects.toThrow(/changed/)
  })

  it('a database of a newer program is refused', async () => {
    addMigration('CREATE TABLE extra (a TEXT);', 'DROP TABLE extra;')
    await migrateUp(url, migrations)
    rmSync(join(sqlite, SECOND), { recursive: true })
    await expect(migrateUp(url, migrations)).rejects.toThrow(/newer/)
  })

  it('two processes that migrate at once apply each migration once between them', async () => {
    const tsx = join(import.meta.dirname, '..', '..', 'node_modules', '.bin', 'tsx')
    const script = join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts')
    const run = () =>
      promisify(execFile)(tsx, [script, 'migrate', 'up'], { env: { ...process.env, DATABASE_URL: url } })
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
    expect(findings.map((finding) => finding.slice(0, finding.indexOf('\n')))).toEqual([
      'sqlite: the schema changed since the snapshot:',
      "sqlite: the migrations don't lead to the schema; what is missing:",
      'postgresql: the schema changed since the snapshot:',
    ])
    for (const finding of findings) expect(finding).toContain('"extra"')
  })

  it('a migration that was edited is found by replay', async () => {
    const [name] = readdirSync(sqlite)
    appendFileSync(join(sqlite, name as string, 'migration.sql'), '\nDROP INDEX "uploads_deleted_at_idx";')
    const findings = await findDrift(prisma)
    expect(findings).toHaveLength(1)
    expect(findings[0]).toContain('uploads_deleted_at_idx')
  })

  it('a missing down.sql is found', async () => {
    const [name] = readdirSync(sqlite)
    rmSync(join(sqlite, name as string, 'down.sql'))
    expect(await findDrift(prisma)).toEqual([`sqlite: ${name} has no down.sql`])
  })

  it('a new migration ends the drift, and goes up and down', async () => {
    expect(await newMigration(prisma, 'nothing')).toEqual([])
    addField()
    expect(await newMigration(prisma, 'extra', new Date('2099-01-01T00:00:00.000Z'))).toEqual(
      ['sqlite', 'postgresql'].map((provider) => join(migrations, provider, '20990101000000_extra')),
    )
    expect(await findDrift(prisma)).toEqual([])
    const columns = () =>
      inDatabase((client) => client.prepare('PRAGMA table_info(uploads)').all([]) as { name: string }[])
    await migrateUp(url, migrations)
    expect(columns().map(({ name }) => name)).toContain('extra')
    await migrateDown(url, 1, migrations)
    expect(columns().map(({ name }) => name)).not.toContain('extra')
  })
})

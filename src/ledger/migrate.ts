import { createHash, randomUUID } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { MigrationSession } from './migration-session.ts'
import { makeFolderOf } from './open.ts'
import { sqliteSession } from './sqlite-session.ts'
import { providerOf, sqlitePath } from './url.ts'

/** A folder for each database, both from `src/ledger` and from `dist/ledger`. */
const MIGRATIONS_FOLDER = join(import.meta.dirname, '..', '..', 'prisma', 'migrations')

interface Migration {
  name: string
  up: string
  /** null where it can't be undone */
  down: string | null
  checksum: string
}

interface MigrationRow {
  migration_name: string
  checksum: string
  finished_at: unknown
}

export interface MigrationStatus {
  name: string
  applied: boolean
  reversible: boolean
}

/** Applies what is missing, each migration in its own transaction. @returns the names of what it applied */
export const migrateUp = (url: string, folder = MIGRATIONS_FOLDER): Promise<string[]> =>
  inSession(url, folder, async (session, migrations) => {
    const applied: string[] = []
    for (const migration of migrations) if (await applyOnce(session, migration)) applied.push(migration.name)
    return applied
  })

/** Undoes the last `count` that are applied, newest first. @returns their names */
export const migrateDown = (url: string, count = 1, folder = MIGRATIONS_FOLDER): Promise<string[]> =>
  inSession(url, folder, async (session, migrations) => {
    const applied = await appliedRows(session)
    const undone = migrations
      .filter(({ name }) => applied.has(name))
      .toReversed()
      .slice(0, count)
    for (const migration of undone) await revert(session, migration)
    return undone.map(({ name }) => name)
  })

export const migrationStatus = (url: string, folder = MIGRATIONS_FOLDER): Promise<MigrationStatus[]> =>
  inSession(url, folder, async (session, migrations) => {
    const applied = await appliedRows(session)
    return migrations.map(({ name, down }) => ({
      name,
      applied: applied.has(name),
      reversible: down !== null,
    }))
  })

async function inSession<T>(
  url: string,
  folder: string,
  work: (session: MigrationSession, migrations: Migration[]) => Promise<T>,
): Promise<T> {
  const session = await openSession(url)
  try {
    const migrations = readMigrations(join(folder, providerOf(url)))
    await assertKnown(session, migrations)
    return await work(session, migrations)
  } finally {
    await session.close()
  }
}

async function openSession(url: string): Promise<MigrationSession> {
  if (providerOf(url) === 'postgresql') {
    const { postgresSession } = await import('./postgres-session.ts')
    return postgresSession(url)
  }
  const path = sqlitePath(url)
  makeFolderOf(path)
  return sqliteSession(path)
}

const readMigrations = (folder: string): Migration[] =>
  readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .toSorted()
    .map((name) => readMigration(folder, name))

function readMigration(folder: string, name: string): Migration {
  const up = readFileSync(join(folder, name, 'migration.sql'), 'utf8')
  const downFile = join(folder, name, 'down.sql')
  return {
    name,
    up,
    down: existsSync(downFile) ? readFileSync(downFile, 'utf8') : null,
    checksum: createHash('sha256').update(up).digest('hex'),
  }
}

async function appliedRows(session: MigrationSession): Promise<Map<string, MigrationRow>> {
  const rows = await session.rows<MigrationRow>(
    'SELECT migration_name, checksum, finished_at FROM _prisma_migrations WHERE rolled_back_at IS NULL',
  )
  return new Map(rows.map((row) => [row.migration_name, row]))
}

/** @throws when the database is not one that these migrations, and only these, have made */
async function assertKnown(session: MigrationSession, migrations: Migration[]): Promise<void> {
  const known = new Map(migrations.map((migration) => [migration.name, migration]))
  const applied = await appliedRows(session)
  for (const { migration_name: name, checksum, finished_at: finishedAt } of applied.values()) {
    const migration = known.get(name)
    if (finishedAt === null) throw new Error(`Migration ${name} is recorded as failed; resolve it first.`)
    if (!migration) throw new Error(`The database is newer than this program: it has migration ${name}.`)
    if (migration.checksum !== checksum)
      throw new Error(`Migration ${name} was changed after it was applied.`)
  }
}

const RECORD = `
  INSERT INTO _prisma_migrations
    (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
  VALUES ($1, $2, $3, $4, $5, 1)`

const RECORD_ROLLBACK = `
  UPDATE _prisma_migrations SET rolled_back_at = $1 WHERE migration_name = $2 AND rolled_back_at IS NULL`

/** False when it is there already, maybe since a moment ago by another process. */
const applyOnce = (session: MigrationSession, { name, up, checksum }: Migration): Promise<boolean> =>
  session.transaction(async () => {
    if ((await appliedRows(session)).has(name)) return false
    const startedAt = timestamp()
    await session.script(up)
    await session.rows(RECORD, randomUUID(), checksum, name, startedAt, timestamp())
    return true
  })

async function revert(session: MigrationSession, { name, down }: Migration): Promise<void> {
  if (down === null) throw new Error(`Migration ${name} has no down.sql.`)
  await session.transaction(async () => {
    await session.script(down)
    await session.rows(RECORD_ROLLBACK, timestamp(), name)
  })
}

/** As Prisma writes dates to SQLite; PostgreSQL reads it, too. */
const timestamp = (): string => new Date().toISOString().replace('Z', '+00:00')

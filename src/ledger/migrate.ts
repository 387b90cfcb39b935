import { createHash, randomUUID } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeFolderOf, sqlitePath } from './open.ts'
import { MIGRATIONS_TABLE, sqliteSession, type MigrationSession } from './sqlite-session.ts'

/** Both from `src/ledger` and from `dist/ledger`. */
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
  finished_at: string | null
}

export interface MigrationStatus {
  name: string
  applied: boolean
  reversible: boolean
}

/** Applies what is missing, each migration in its own transaction. @returns the names of what it applied */
export const migrateUp = (url: string, folder = MIGRATIONS_FOLDER): string[] =>
  inSession(url, folder, (session, migrations) =>
    migrations.filter((migration) => applyOnce(session, migration)).map(({ name }) => name),
  )

/** Undoes the last `count` that are applied, newest first. @returns their names */
export const migrateDown = (url: string, count = 1, folder = MIGRATIONS_FOLDER): string[] =>
  inSession(url, folder, (session, migrations) => {
    const applied = appliedRows(session)
    const undone = migrations
      .filter(({ name }) => applied.has(name))
      .toReversed()
      .slice(0, count)
    for (const migration of undone) revert(session, migration)
    return undone.map(({ name }) => name)
  })

export const migrationStatus = (url: string, folder = MIGRATIONS_FOLDER): MigrationStatus[] =>
  inSession(url, folder, (session, migrations) => {
    const applied = appliedRows(session)
    return migrations.map(({ name, down }) => ({
      name,
      applied: applied.has(name),
      reversible: down !== null,
    }))
  })

function inSession<T>(
  url: string,
  folder: string,
  work: (session: MigrationSession, migrations: Migration[]) => T,
): T {
  const path = sqlitePath(url)
  makeFolderOf(path)
  const session = sqliteSession(path)
  try {
    session.script(MIGRATIONS_TABLE)
    const migrations = readMigrations(folder)
    assertKnown(session, migrations)
    return work(session, migrations)
  } finally {
    session.close()
  }
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

function appliedRows(session: MigrationSession): Map<string, MigrationRow> {
  const rows = session.rows<MigrationRow>(
    'SELECT migration_name, checksum, finished_at FROM _prisma_migrations WHERE rolled_back_at IS NULL',
  )
  return new Map(rows.map((row) => [row.migration_name, row]))
}

/** @throws when the database is not one that these migrations, and only these, have made */
function assertKnown(session: MigrationSession, migrations: Migration[]): void {
  const known = new Map(migrations.map((migration) => [migration.name, migration]))
  for (const { migration_name: name, checksum, finished_at: finishedAt } of appliedRows(session).values()) {
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
  VALUES (?, ?, ?, ?, ?, 1)`

const RECORD_ROLLBACK = `
  UPDATE _prisma_migrations SET rolled_back_at = ? WHERE migration_name = ? AND rolled_back_at IS NULL`

/** False when it is there already, maybe since a moment ago by another process. */
const applyOnce = (session: MigrationSession, { name, up, checksum }: Migration): boolean =>
  session.transaction(() => {
    if (appliedRows(session).has(name)) return false
    const startedAt = timestamp()
    session.script(up)
    session.rows(RECORD, randomUUID(), checksum, name, startedAt, timestamp())
    return true
  })

function revert(session: MigrationSession, { name, down }: Migration): void {
  if (down === null) throw new Error(`Migration ${name} has no down.sql.`)
  session.transaction(() => {
    session.script(down)
    session.rows(RECORD_ROLLBACK, timestamp(), name)
  })
}

/** As Prisma writes dates to SQLite. */
const timestamp = (): string => new Date().toISOString().replace('Z', '+00:00')

import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'
import type { MigrationSession } from './migration-session.ts'

/** Prisma's own table, as `prisma migrate` makes it. */
const MIGRATIONS_TABLE = `
  CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
    "id" TEXT PRIMARY KEY NOT NULL,
    "checksum" TEXT NOT NULL,
    "finished_at" DATETIME,
    "migration_name" TEXT NOT NULL,
    "logs" TEXT,
    "rolled_back_at" DATETIME,
    "started_at" DATETIME NOT NULL DEFAULT current_timestamp,
    "applied_steps_count" INTEGER UNSIGNED NOT NULL DEFAULT 0
  )`

const BUSY_TIMEOUT_MS = 30_000
const PAUSE_MS = 20

export async function sqliteSession(path: string): Promise<MigrationSession> {
  const client = new Database(path, { timeout: 0 })
  try {
    await whenFree(() => {
      client.pragma('journal_mode = WAL')
      client.exec(MIGRATIONS_TABLE)
    })
    // Nothing is served while we migrate, so these waits may block.
    client.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`)
  } catch (error) {
    client.close()
    throw error
  }

  return {
    async rows<T>(sql: string, ...values: unknown[]): Promise<T[]> {
      const statement = client.prepare(sql.replaceAll(/\$\d+/g, '?'))
      if (statement.reader) return statement.all(values) as T[]
      statement.run(values)
      return []
    },
    async script(sql) {
      client.exec(sql)
    },
    async transaction(work) {
      // A rebuilt table is dropped on the way, and with foreign keys on its children would go with
      // it. Inside the transaction this PRAGMA does nothing, whatever the script says.
      client.pragma('foreign_keys = OFF')
      client.exec('BEGIN IMMEDIATE')
      try {
        const result = await work()
        assertForeignKeys(client)
        client.exec('COMMIT')
        return result
      } finally {
        if (client.inTransaction) client.exec('ROLLBACK')
        client.pragma('foreign_keys = ON')
      }
    },
    async close() {
      client.close()
    },
  }
}

/** SQLite's own timeout is not for the change to write-ahead logging: of processes that start at once, one fails. */
async function whenFree(work: () => void): Promise<void> {
  const deadline = performance.now() + BUSY_TIMEOUT_MS
  for (;;) {
    try {
      return work()
    } catch (error) {
      const isBusy = (error as { code?: string }).code?.startsWith('SQLITE_BUSY')
      if (!isBusy || performance.now() > deadline) throw error
    }
    await sleep(PAUSE_MS)
  }
}

function assertForeignKeys(client: Database.Database): void {
  const violations = client.pragma('foreign_key_check') as unknown[]
  if (violations.length > 0)
    throw new Error(`The migration breaks ${violations.length} foreign keys; it was not applied.`)
}

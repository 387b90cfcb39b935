import { Client, type DatabaseError } from 'pg'
import type { MigrationSession } from './migration-session.ts'
import { connectionConfig } from './postgres-options.ts'
import { shownUrl } from './url.ts'

/** Prisma's own table, as `prisma migrate` makes it. */
const MIGRATIONS_TABLE = `
  CREATE TABLE IF NOT EXISTS "_prisma_migrations" (
    "id" VARCHAR(36) PRIMARY KEY NOT NULL,
    "checksum" VARCHAR(64) NOT NULL,
    "finished_at" TIMESTAMPTZ,
    "migration_name" VARCHAR(255) NOT NULL,
    "logs" TEXT,
    "rolled_back_at" TIMESTAMPTZ,
    "started_at" TIMESTAMPTZ NOT NULL DEFAULT now(),
    "applied_steps_count" INTEGER NOT NULL DEFAULT 0
  )`

/** The one that `prisma migrate` takes. */
const ADVISORY_LOCK = 72707369
/** how long another process may migrate before we give up */
const LOCK_PATIENCE_MS = 60_000
const LOCK_NOT_AVAILABLE = '55P03'

/**
 * Migrates under a lock that one process at a time has: the others wait here, and find nothing left to do.
 * @throws when the database can't be reached or used
 */
export async function postgresSession(url: string): Promise<MigrationSession> {
  const client = new Client(connectionConfig(url))
  // A connection that is lost between two statements is told of by the second.
  client.on('error', () => {})
  try {
    await client.connect()
  } catch (error) {
    // A connection that was never made may never end.
    void client.end()
    throw new Error(`The database ${shownUrl(url)} can't be reached: ${reasonOf(error)}`, { cause: error })
  }
  try {
    await assertUnicode(client)
    await takeLock(client)
    await client.query(MIGRATIONS_TABLE)
  } catch (error) {
    await client.end()
    throw error
  }

  return {
    async rows<T>(sql: string, ...values: unknown[]): Promise<T[]> {
      return (await client.query(sql, values)).rows as T[]
    },
    async script(sql) {
      // Without values it is the simple protocol, which takes a whole script.
      await client.query(sql)
    },
    async transaction(work) {
      await client.query('BEGIN')
      try {
        const result = await work()
        await client.query('COMMIT')
        return result
      } catch (error) {
        await client.query('ROLLBACK').catch(() => {})
        throw error
      }
    },
    // The lock goes with the connection.
    close: () => client.end(),
  }
}

/** Several addresses of a host give an error without words, around one for each. */
const reasonOf = (error: unknown): string =>
  error instanceof AggregateError ? error.errors.map(String).join(', ') : (error as Error).message

/** @throws when file names of any language would not fit in */
async function assertUnicode(client: Client): Promise<void> {
  const { rows } = await client.query<{ server_encoding: string }>('SHOW server_encoding')
  const encoding = rows[0]?.server_encoding
  if (encoding !== 'UTF8') throw new Error(`The database must have the encoding UTF8, not ${encoding}.`)
}

async function takeLock(client: Client): Promise<void> {
  // A migration takes the time that it takes.
  await client.query(`SET statement_timeout = 0; SET lock_timeout = ${LOCK_PATIENCE_MS}`)
  try {
    await client.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCK])
  } catch (error) {
    if ((error as DatabaseError).code !== LOCK_NOT_AVAILABLE) throw error
    throw new Error('Another process has been migrating the database for too long.', { cause: error })
  }
  await client.query('SET lock_timeout = 0')
}

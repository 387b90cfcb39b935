import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { PrismaClient } from '../generated/sqlite/client.ts'
import { postgresDialect, sqliteDialect, type Dialect } from './dialect.ts'
import type { PostgresOptions } from './postgres-options.ts'
import { sqliteAdapter, type SqliteOptions } from './sqlite-adapter.ts'
import { DEFAULT_DATABASE_URL, providerOf, sqlitePath } from './url.ts'

/** A client, and the SQL that its database needs. */
export interface Db {
  client: PrismaClient
  dialect: Dialect
}

export type DbOptions = Omit<SqliteOptions, 'path'> & Omit<PostgresOptions, 'url'>

/**
 * Connects to the database of a URL; makes the folder of an SQLite file that is not there yet.
 * @throws when the URL is of no database we know, or the SQLite file can't be opened
 */
export async function openDb(url: string = DEFAULT_DATABASE_URL, options: DbOptions = {}): Promise<Db> {
  const db = providerOf(url) === 'postgresql' ? await postgresDb({ url, ...options }) : sqliteDb(url, options)
  await db.client.$connect()
  return db
}

function sqliteDb(url: string, options: DbOptions): Db {
  const path = sqlitePath(url)
  makeFolderOf(path)
  return {
    client: new PrismaClient({ adapter: sqliteAdapter({ path, ...options }) }),
    dialect: sqliteDialect,
  }
}

async function postgresDb(options: PostgresOptions): Promise<Db> {
  // Loaded for those who use it.
  const [{ PrismaClient: PostgresClient }, { postgresAdapter }] = await Promise.all([
    import('../generated/postgresql/client.ts'),
    import('./postgres-adapter.ts'),
  ])
  // Made from one schema, the clients do the same. Their types differ in filters that SQLite lacks.
  const client = new PostgresClient({ adapter: postgresAdapter(options) }) as unknown as PrismaClient
  return { client, dialect: postgresDialect }
}

export function makeFolderOf(path: string): void {
  if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true })
}

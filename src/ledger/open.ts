import type { SqlDriverAdapterFactory } from '@prisma/driver-adapter-utils'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { postgresDialect, sqliteDialect, type Dialect } from './dialect.ts'
import type { PostgresOptions } from './postgres-options.ts'
import { sqliteAdapter, type SqliteOptions } from './sqlite-adapter.ts'
import { statementsOn, type Database } from './statements.ts'
import { DEFAULT_DATABASE_URL, providerOf, sqlitePath } from './url.ts'

/** A database, and the SQL that it needs. */
export interface Db {
  client: Database
  dialect: Dialect
}

export type DbOptions = Omit<SqliteOptions, 'path'> & Omit<PostgresOptions, 'url'>

/**
 * Connects to the database of a URL; makes the folder of an SQLite file that is not there yet.
 * @throws when the URL is of no database we know, or the SQLite file can't be opened
 */
export async function openDb(url: string = DEFAULT_DATABASE_URL, options: DbOptions = {}): Promise<Db> {
  const adapter = await adapterOf(url, options)
  const dialect = adapter.provider === 'postgres' ? postgresDialect : sqliteDialect
  return { client: statementsOn(await adapter.connect()), dialect }
}

async function adapterOf(url: string, options: DbOptions): Promise<SqlDriverAdapterFactory> {
  if (providerOf(url) === 'postgresql') {
    // Loaded for those who use it.
    const { postgresAdapter } = await import('./postgres-adapter.ts')
    return postgresAdapter({ url, ...options })
  }
  const path = sqlitePath(url)
  makeFolderOf(path)
  return sqliteAdapter({ path, ...options })
}

export function makeFolderOf(path: string): void {
  if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true })
}

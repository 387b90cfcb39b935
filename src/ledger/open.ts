import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { PrismaClient } from '../generated/sqlite/client.ts'
import { sqliteAdapter, type SqliteOptions } from './sqlite-adapter.ts'

export const DEFAULT_DATABASE_URL = 'file:./data/uploads.db'

export type Db = PrismaClient

/**
 * Connects to the database of a URL; makes the folder of a file that is not there yet.
 * @throws when the URL is of no database we know, or the database can't be opened
 */
export async function openDb(
  url: string = DEFAULT_DATABASE_URL,
  options: Omit<SqliteOptions, 'path'> = {},
): Promise<Db> {
  const path = sqlitePath(url)
  makeFolderOf(path)
  const db = new PrismaClient({ adapter: sqliteAdapter({ path, ...options }) })
  await db.$connect()
  return db
}

/** The path in `file:./a.db`, `file:///var/a.db` or `file:/var/a.db?…`. */
export function sqlitePath(url: string): string {
  const path = /^(?:file|sqlite):(?:\/\/(?=\/))?([^?]+)/.exec(url)?.[1]
  if (path === undefined)
    throw new Error('DATABASE_URL must be an SQLite file, such as ' + DEFAULT_DATABASE_URL)
  return path
}

export function makeFolderOf(path: string): void {
  if (path !== ':memory:') mkdirSync(dirname(path), { recursive: true })
}

import { Prisma } from '../generated/sqlite/client.ts'

/** Where the databases differ; all other SQL is one for both. */
export interface Dialect {
  /**
   * Behind a SELECT: holds its rows, in its order, until the transaction ends. Nothing on SQLite, where
   * a transaction that writes holds the whole database from its beginning.
   */
  readonly forUpdate: Prisma.Sql
  /** whether rows have to be held by that before what is decided on them */
  readonly locksRows: boolean
  /** the database's clock, in milliseconds since 1970: one for all processes, and it runs within a transaction */
  readonly nowMs: Prisma.Sql
}

export const sqliteDialect: Dialect = {
  forUpdate: Prisma.empty,
  locksRows: false,
  nowMs: Prisma.sql`CAST(unixepoch('subsec') * 1000 AS INTEGER)`,
}

export const postgresDialect: Dialect = {
  forUpdate: Prisma.sql`FOR UPDATE`,
  locksRows: true,
  nowMs: Prisma.sql`CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)`,
}

/** A connection of its own to migrate with: Prisma's runs single statements, and a migration is a script. */
export interface MigrationSession {
  /** @param values what `$1`, `$2` … in the SQL stand for, in their order */
  rows<T>(sql: string, ...values: unknown[]): Promise<T[]>
  script(sql: string): Promise<void>
  /** All of `work` or nothing; other processes that migrate wait until it is over. */
  transaction<T>(work: () => Promise<T>): Promise<T>
  close(): Promise<void>
}

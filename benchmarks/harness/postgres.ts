import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { startPostgres } from '../../test/support/postgres-server.ts'

export interface Databases {
  /** @returns the URL of a new and empty one */
  make(): Promise<string>
  close(): Promise<void>
}

/** What one would run in earnest, but for fsync: its data is as short-lived as the run. */
const SETTINGS = ['default_transaction_isolation=read committed', 'shared_buffers=128MB']

/** A PostgreSQL out of npm, as the tests start it. */
export async function openDatabases(): Promise<Databases> {
  const server = await startPostgres(SETTINGS)
  return {
    async make() {
      const name = `bench_${randomUUID().replaceAll('-', '')}`
      const client = new Client({ connectionString: server.url })
      await client.connect()
      await client.query(`CREATE DATABASE ${name}`)
      await client.end()
      return Object.assign(new URL(server.url), { pathname: `/${name}` }).href
    },
    close: () => server.remove(),
  }
}

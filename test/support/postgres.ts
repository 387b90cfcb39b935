import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, inject } from 'vitest'
import type { Found } from './postgres-setup.ts'
import { startPostgres, type PostgresServer } from './postgres-server.ts'

export interface Postgres {
  /** @returns the URL of a new and empty database; it goes away with the test file */
  database(): Promise<string>
}

/**
 * The PostgreSQL of this run of the tests: the server that TEST_DATABASE_URL names, as one who may make
 * databases, or one out of npm.
 * @returns null, and says why, where there is none: the tests that want it are skipped then
 */
export async function findPostgres(): Promise<Postgres | null> {
  const found = (await (await fetch(inject('postgresBroker'))).json()) as Found
  if ('reason' in found) {
    console.warn(`The tests on PostgreSQL are skipped, without TEST_DATABASE_URL: ${found.reason}`)
    return null
  }
  const made: string[] = []
  afterAll(() =>
    onServer(found.url, async (client) => {
      for (const name of made) await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    }),
  )
  return {
    async database() {
      const name = `test_${randomUUID().replaceAll('-', '')}`
      await onServer(found.url, (client) => client.query(`CREATE DATABASE ${name}`))
      made.push(name)
      return Object.assign(new URL(found.url), { pathname: `/${name}` }).href
    },
  }
}

/** A server for this test file alone, to be stopped and started again. Null as with `findPostgres`. */
export async function findOwnPostgres(): Promise<PostgresServer | null> {
  try {
    const server = await startPostgres()
    afterAll(() => server.remove())
    return server
  } catch (error) {
    console.warn(`The tests that stop PostgreSQL are skipped: ${(error as Error).message}`)
    return null
  }
}

/** Runs `work` on a plain connection to a database. */
export async function onServer<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

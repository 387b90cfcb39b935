import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterAll, inject } from 'vitest'
import type { Found } from './postgres-setup.ts'
import { startPostgres, type PostgresServer } from './postgres-server.ts'

export interface Postgres {
  /** false where there is none: the tests that want it are skipped then */
  available: boolean
  /** @returns the URL of a new and empty database; it goes away with the test file */
  database(): Promise<string>
}

/**
 * The PostgreSQL of this run of the tests: the server that TEST_DATABASE_URL names, as one who may make
 * databases, or one out of npm. Says why where there is neither.
 */
export async function findPostgres(): Promise<Postgres> {
  const found = (await (await fetch(inject('postgresBroker'))).json()) as Found
  if ('url' in found) return { available: true, database: databasesOn(found.url) }
  console.warn(`The tests on PostgreSQL are skipped, without TEST_DATABASE_URL: ${found.reason}`)
  return { available: false, database: () => Promise.reject(new Error(found.reason)) }
}

export type OwnPostgres = Postgres & Pick<PostgresServer, 'crash' | 'start'>

/** A server for this test file alone, to be stopped and started again. Says why where there can be none. */
export async function startOwnPostgres(): Promise<OwnPostgres> {
  try {
    const server = await startPostgres()
    afterAll(() => server.remove())
    const database = async () => createDatabase(server.url)
    return { available: true, database, crash: server.crash, start: server.start }
  } catch (error) {
    const { message } = error as Error
    console.warn(`The tests that stop PostgreSQL are skipped: ${message}`)
    const none = () => Promise.reject(new Error(message))
    return { available: false, database: none, crash: none, start: none }
  }
}

function databasesOn(server: string): () => Promise<string> {
  const made: string[] = []
  afterAll(async () => {
    const names = made.map((url) => new URL(url).pathname.slice(1))
    await onServer(server, async (client) => {
      for (const name of names) await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    })
  })
  return async () => {
    const url = await createDatabase(server)
    made.push(url)
    return url
  }
}

async function createDatabase(server: string): Promise<string> {
  const name = `test_${randomUUID().replaceAll('-', '')}`
  await onServer(server, (client) => client.query(`CREATE DATABASE ${name}`))
  return Object.assign(new URL(server), { pathname: `/${name}` }).href
}

/** Runs `work` on a plain connection to a database. */
export async function onServer<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

/** Whether a connection to the client's database waits for a lock. */
export async function someWait(client: Client): Promise<boolean> {
  const { rows } = await client.query(
    `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  )
  return rows.length > 0
}

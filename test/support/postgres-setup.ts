import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { startPostgres, type PostgresServer } from './postgres-server.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** answers where PostgreSQL is, or why there is none */
    postgresBroker: string
  }
}

/** What the broker answers. */
export type Found = { url: string } | { reason: string }

/** One PostgreSQL for all test files of a run, started when the first of them asks. */
export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  let server: Promise<PostgresServer> | undefined

  async function find(): Promise<Found> {
    const given = process.env['TEST_DATABASE_URL']
    if (given) return { url: given }
    try {
      server ??= startPostgres()
      return { url: (await server).url }
    } catch (error) {
      return { reason: (error as Error).message }
    }
  }

  const broker = createServer((_, res) => {
    void find().then((found) => res.end(JSON.stringify(found)))
  }).listen(0, '127.0.0.1')
  await once(broker, 'listening')
  provide('postgresBroker', `http://127.0.0.1:${(broker.address() as AddressInfo).port}`)

  return async () => {
    broker.close()
    const running = await server?.catch(() => undefined)
    await running?.remove()
  }
}

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { patchAt } from '../support/client.ts'
import { buildServer, type BuiltServer } from '../support/built-server.ts'
import { createTus, useNodes, type Node, type Site } from '../support/nodes.ts'
import { findPostgres } from '../support/postgres.ts'
import { accept, useReceiver, verify, webhookEnv } from '../support/receiver.ts'
import { eventually } from '../support/slow-request.ts'

const UPLOADS = 60
const postgres = await findPostgres()

let built: BuiltServer | undefined
beforeAll(async () => {
  built = await buildServer()
})
afterAll(() => built?.remove())

const main = () => built?.main ?? null
const sites: [name: string, site: Site][] = [
  ['SQLite', { main, database: async (root) => `file:${root}/uploads.db` }],
  ['PostgreSQL', { main, database: postgres.database }],
]

const upload = async (node: Node): Promise<string> => {
  const path = await createTus(node, 5)
  expect((await node.call('PATCH', path, { headers: patchAt(0), body: 'hello' })).status).toBe(204)
  return path.replace('/files/', '')
}

describe.each(sites)('two processes on %s', (name, site) => {
  test.skipIf(name === 'PostgreSQL' && !postgres.available)(
    'tell each event once, in the order of its upload',
    async () => {
      const receiver = await useReceiver()
      const { a, b } = await useNodes(site, webhookEnv(receiver))
      const ids = await Promise.all(Array.from({ length: UPLOADS }, (_, i) => upload(i % 2 ? a : b)))
      await receiver.until(2 * UPLOADS)
      for (const id of ids)
        expect([id, receiver.typesOf(id)]).toEqual([id, ['upload.created', 'upload.completed']])
      expect(receiver.received).toHaveLength(2 * UPLOADS)
      for (const received of receiver.received) verify(received)
      const sent = await Promise.all(
        [a, b].map(async ({ call }) => {
          const { text } = await call('GET', '/metrics')
          return Number(/^webhook_attempts_total{result="delivered"} (\d+)$/m.exec(text)?.[1] ?? 0)
        }),
      )
      expect(sent.reduce((sum, each) => sum + each, 0)).toBe(2 * UPLOADS)
    },
  )

  test.skipIf(name === 'PostgreSQL' && !postgres.available)(
    'what one was sending when it died, the other sends',
    async () => {
      const receiver = await useReceiver(() => {})
      const { a, b, start } = await useNodes(site, { ...webhookEnv(receiver), WEBHOOK_TIMEOUT_SECONDS: '2' })
      await b.signal('SIGKILL')
      const id = await upload(a)
      await receiver.until(1)
      const c = await start()
      await a.signal('SIGKILL')
      receiver.answer(accept)
      await eventually(() => new Set(receiver.typesOf(id)).size === 2, 'both events have come', 30_000)
      expect((await c.call('GET', '/health')).status).toBe(200)
    },
  )
})

import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { routes, type App } from '../../src/app.ts'
import { nobody } from '../../src/http/guards.ts'
import { clientOf, patchAt, TUS, type Client } from '../support/client.ts'
import { BOB, startTestServer } from '../support/server.ts'

/** Routes that need no key, on purpose. */
const OPEN = new Set(['OPTIONS /files{/:id}', 'GET /health', 'GET /ready', 'GET /version', 'GET /metrics'])

/** Nothing of it is called: the table is built, and read. */
const table = routes({ tus: {}, operations: {} } as App)
const named = table.map(([method, path, who]) => ({ name: `${method} ${path}`, method, path, who }))
const guarded = named.filter(({ name }) => !OPEN.has(name))
const owned = guarded.filter(({ path }) => path.includes(':id'))

test('only the routes that are listed as open need no key', () => {
  expect(
    named
      .filter(({ who }) => who === nobody)
      .map(({ name }) => name)
      .toSorted(),
  ).toEqual([...OPEN].filter((name) => name !== 'GET /metrics').toSorted())
})

test('no row stands twice', () => {
  expect(new Set(named.map(({ name }) => name)).size).toBe(named.length)
})

describe('on the running server', () => {
  let url: string
  let alice: Client
  let id: string
  beforeAll(async () => {
    const server = await startTestServer()
    url = server.url
    alice = clientOf(url)
    const { json } = await alice('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 5 } })
    id = json.upload_id
    return () => server.close()
  })

  const ask = (call: Client, { method, path }: { method: string; path: string }, upload: string) =>
    call(method, path.replace('{/:id}', '').replace(':id', upload).replace(':index', '0'), {
      headers: method === 'PATCH' ? patchAt(0) : TUS,
      ...(method === 'PUT' || method === 'PATCH' ? { body: 'hello' } : {}),
    })

  test.each(guarded)('$name without a key, or with an unknown one, is 401', async (route) => {
    expect((await ask(clientOf(url, null), route, id)).status).toBe(401)
    expect((await ask(clientOf(url, 'no-such-key'), route, id)).status).toBe(401)
  })

  test.each(owned)("$name on another user's upload is 403, and changes nothing", async (route) => {
    expect((await ask(clientOf(url, BOB), route, id)).status).toBe(403)
    expect((await alice('GET', `/v1/uploads/${id}`)).json).toMatchObject({ status: 'INITIATED', offset: 0 })
  })

  test.each(owned)('$name on an upload that never was is 404', async (route) => {
    expect((await ask(alice, route, randomUUID())).status).toBe(404)
    expect((await ask(alice, route, 'x')).status).toBe(404)
  })
})

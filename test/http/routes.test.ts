import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { routes, type App, type Method } from '../../src/app.ts'
import { nobody } from '../../src/http/guards.ts'
import { clientOf, patchAt, TUS, type Client } from '../support/client.ts'
import { ALICE, BOB, startTestServer } from '../support/server.ts'
import { holderOf } from '../support/tokens.ts'

interface Rule {
  /** a sender is the owner, or who holds a token for the upload */
  who: 'nobody' | 'any user' | 'owner' | 'sender' | 'link holder' | 'admin' | 'scraper'
  /** the status for who may come */
  ok: number
  headers?: Record<string, string>
  body?: string
  /** whether the upload must have its bytes first */
  whole?: boolean
}

const JSON_TYPE = { 'Content-Type': 'application/json' }
const INIT = '{"file_name":"a","file_size":5}'

/** Who may come to each route. A route that is not here fails. */
const RULES: Record<string, Rule> = {
  'POST /v1/uploads/init': { who: 'any user', ok: 201, headers: JSON_TYPE, body: INIT },
  'GET /v1/uploads': { who: 'any user', ok: 200 },
  'GET /v1/uploads/:id': { who: 'sender', ok: 200 },
  'DELETE /v1/uploads/:id': { who: 'owner', ok: 204 },
  'PUT /v1/uploads/:id/chunks/:index': { who: 'sender', ok: 202, body: 'hello' },
  'DELETE /v1/uploads/:id/chunks/:index': { who: 'owner', ok: 204 },
  'GET /v1/uploads/:id/missing-chunks': { who: 'sender', ok: 200 },
  'POST /v1/uploads/:id/complete': { who: 'sender', ok: 200, whole: true },
  'HEAD /v1/uploads/:id/download': { who: 'owner', ok: 200, whole: true },
  'GET /v1/uploads/:id/download': { who: 'owner', ok: 200, whole: true },
  'POST /v1/uploads/:id/links': { who: 'owner', ok: 201 },
  'POST /v1/uploads/:id/tokens': { who: 'owner', ok: 201 },
  'HEAD /v1/links/:token': { who: 'link holder', ok: 200 },
  'GET /v1/links/:token': { who: 'link holder', ok: 200 },
  'GET /v1/uploads/:id/events': { who: 'sender', ok: 200, whole: true },
  'GET /v1/events': { who: 'any user', ok: 200 },
  'GET /v1/limits': { who: 'any user', ok: 200 },
  'OPTIONS /files{/:id}': { who: 'nobody', ok: 204 },
  'POST /files': { who: 'any user', ok: 201, headers: { ...TUS, 'Upload-Length': '5' } },
  'HEAD /files/:id': { who: 'sender', ok: 200, headers: TUS },
  'PATCH /files/:id': { who: 'sender', ok: 204, headers: patchAt(0), body: 'hello' },
  'DELETE /files/:id': { who: 'owner', ok: 204, headers: TUS },
  'GET /files/:id': { who: 'owner', ok: 200, whole: true },
  'POST /v1/admin/cleanup': { who: 'admin', ok: 200 },
  'GET /v1/admin/webhooks/dead': { who: 'admin', ok: 200 },
  // There is no such event.
  'POST /v1/admin/webhooks/:event_id/replay': { who: 'admin', ok: 404 },
  'GET /': { who: 'nobody', ok: 200 },
  'GET /console/:file': { who: 'nobody', ok: 200 },
  'GET /health': { who: 'nobody', ok: 200 },
  'GET /ready': { who: 'nobody', ok: 200 },
  'GET /version': { who: 'nobody', ok: 200 },
  'GET /metrics': { who: 'scraper', ok: 200 },
  'GET /openapi.json': { who: 'nobody', ok: 200 },
  'GET /docs': { who: 'nobody', ok: 200 },
  'GET /docs/start.js': { who: 'nobody', ok: 200 },
  'GET /docs/ui.js': { who: 'nobody', ok: 200 },
  'GET /docs/ui.css': { who: 'nobody', ok: 200 },
}

const ADMIN = 'admin-key'
const METRICS_TOKEN = 'metrics-token'

/** Nothing of it is called: the table is built, and read. */
const table = routes({ tus: {}, operations: {}, identification: {}, adminUserIds: [] } as unknown as App)
const named = table.map(([method, path, who]) => ({ name: `${method} ${path}`, method, path, guard: who }))
const ruled = named.flatMap((row) => (RULES[row.name] ? [{ ...row, ...(RULES[row.name] as Rule) }] : []))
const guarded = ruled.filter(({ who }) => who !== 'nobody' && who !== 'link holder')
const by = (...wanted: Rule['who'][]) => ruled.filter(({ who }) => wanted.includes(who))

test('every route has a rule, every rule a route, and no row stands twice', () => {
  expect(named.map(({ name }) => name).toSorted()).toEqual(Object.keys(RULES).toSorted())
})

test('only the routes that anybody may use let anybody in', () => {
  const open = named.filter(({ guard }) => guard === nobody).map(({ name }) => name)
  expect(open.toSorted()).toEqual(
    by('nobody')
      .map(({ name }) => name)
      .toSorted(),
  )
})

describe('on the running server', () => {
  let url: string
  let alice: Client
  beforeAll(async () => {
    const server = await startTestServer({
      API_KEY_MAPPINGS: `${ALICE}:alice,${BOB}:bob,${ADMIN}:root`,
      ADMIN_USER_IDS: 'root',
      METRICS_TOKEN,
    })
    url = server.url
    alice = clientOf(url)
    return () => server.close()
  })

  /** @returns the id of an upload of Alice's */
  const create = async (whole = false): Promise<string> => {
    const { json } = await alice('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 5 } })
    const id: string = json.upload_id
    if (whole) {
      await alice('PUT', `/v1/uploads/${id}/chunks/0`, { body: 'hello' })
      await alice('POST', `/v1/uploads/${id}/complete`)
    }
    return id
  }
  const pathOf = (path: string, id: string) =>
    path
      .replace('{/:id}', '')
      .replace(':id', id)
      .replace(':index', '0')
      .replace(':token', id)
      .replace(':file', 'icon.svg')
  const ask = async (
    call: Client,
    { method, path, headers = {}, body }: Pick<Rule, 'headers' | 'body'> & { method: string; path: string },
    id: string,
    more: Record<string, string> = {},
  ) => {
    const answer = await call(method, pathOf(path, id), {
      headers: { ...headers, ...more },
      ...(body !== undefined && { body }),
    })
    return answer.status
  }
  const nobodyAtAll = () => clientOf(url, null)
  const bob = () => clientOf(url, BOB)

  test.each(guarded)('$name without a key, or with a wrong one, is 401', async (route) => {
    const id = await create(route.whole)
    const statuses = [
      await ask(nobodyAtAll(), route, id),
      await ask(clientOf(url, 'no-such-key'), route, id),
      await ask(clientOf(url, ''), route, id),
      await ask(nobodyAtAll(), route, id, { Authorization: 'Bearer no-such-key' }),
      await ask(nobodyAtAll(), route, id, { Authorization: `Basic ${ALICE}` }),
      await ask(nobodyAtAll(), route, id, { Cookie: `X-API-Key=${ALICE}` }),
      await ask(nobodyAtAll(), { ...route, path: `${route.path}?api_key=${ALICE}` }, id),
    ]
    expect(statuses).toEqual(statuses.map(() => 401))
  })

  test.each(by('owner', 'sender'))(
    "$name on another user's upload is 403, and changes nothing",
    async (route) => {
      const id = await create(route.whole)
      const before = (await alice('GET', `/v1/uploads/${id}`)).json
      expect(await ask(bob(), route, id)).toBe(403)
      expect(await ask(clientOf(url, ADMIN), route, id)).toBe(403)
      expect((await alice('GET', `/v1/uploads/${id}`)).json).toEqual(before)
    },
  )

  test.each(by('owner', 'sender'))('$name of the own upload is $ok', async (route) => {
    expect(await ask(alice, route, await create(route.whole))).toBe(route.ok)
  })

  test.each(by('owner', 'sender'))(
    '$name on an upload that never was is 404, whoever asks',
    async (route) => {
      for (const id of [randomUUID(), 'x', '..%2f', '%2e%2e%2fuploads.db'])
        for (const call of [alice, bob()]) expect([id, await ask(call, route, id)]).toEqual([id, 404])
    },
  )

  describe('with a token for the upload', () => {
    const withToken = async (id: string): Promise<Client> => {
      const { json } = await alice('POST', `/v1/uploads/${id}/tokens`)
      return holderOf(url, json.token)
    }
    /** Before it is complete: there are no tokens for a complete one. */
    const createWithToken = async (whole = false): Promise<[string, Client]> => {
      const id = await create()
      const call = await withToken(id)
      if (whole) await alice('PUT', `/v1/uploads/${id}/chunks/0`, { body: 'hello' })
      return [id, call]
    }

    test.each(by('sender'))('$name is $ok, and 403 on any other upload', async (route) => {
      const [id, call] = await createWithToken(route.whole)
      expect(await ask(call, route, id)).toBe(route.ok)
      expect(await ask(call, route, await create(route.whole))).toBe(403)
      expect(await ask(call, route, randomUUID())).toBe(403)
      expect(await ask(call, route, 'x')).toBe(404)
    })

    test.each(by('owner', 'any user', 'admin'))('$name is 403, and changes nothing', async (route) => {
      const [id, call] = await createWithToken(route.whole)
      const before = (await alice('GET', `/v1/uploads/${id}`)).json
      expect(await ask(call, route, id)).toBe(403)
      expect((await alice('GET', `/v1/uploads/${id}`)).json).toEqual(before)
    })

    test('a POST that stands for DELETE is 403, and one for PATCH is let in', async () => {
      const [id, call] = await createWithToken()
      const post = { method: 'POST', path: '/files/:id' }
      expect(await ask(call, { ...post, headers: TUS }, id, { 'X-HTTP-Method-Override': 'DELETE' })).toBe(403)
      const patch = { ...post, headers: patchAt(0), body: 'hello' }
      expect(await ask(call, patch, id, { 'X-HTTP-Method-Override': 'PATCH' })).toBe(204)
    })

    test('the metrics are not for its holder', async () => {
      const [, call] = await createWithToken()
      expect((await call('GET', '/metrics')).status).toBe(401)
    })
  })

  test.each(by('link holder'))(
    '$name is $ok with a link and without a key, and 404 for what is no link, whatever key comes along',
    async (route) => {
      const id = await create(true)
      const { json } = await alice('POST', `/v1/uploads/${id}/links`)
      const link = json.url.split('/').at(-1)
      expect(await ask(nobodyAtAll(), route, link)).toBe(route.ok)
      expect(await ask(clientOf(url, 'no-such-key'), route, link)).toBe(route.ok)
      for (const token of [id, 'x', `${link}x`, '%2e%2e'])
        for (const call of [nobodyAtAll(), alice, bob()]) expect(await ask(call, route, token)).toBe(404)
    },
  )

  test.each(by('any user'))('$name is $ok for any user', async (route) => {
    expect([await ask(alice, route, ''), await ask(bob(), route, '')]).toEqual([route.ok, route.ok])
  })

  test.each(by('admin'))('$name is $ok for an administrator and 403 for other users', async (route) => {
    expect(await ask(clientOf(url, ADMIN), route, '')).toBe(route.ok)
    expect([await ask(alice, route, ''), await ask(bob(), route, '')]).toEqual([403, 403])
  })

  test.each(by('scraper'))(
    '$name is $ok with its own token and 401 with the key of a user',
    async (route) => {
      const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })
      expect(await ask(nobodyAtAll(), route, '', bearer(METRICS_TOKEN))).toBe(route.ok)
      expect(await ask(alice, route, '')).toBe(401)
      expect(await ask(nobodyAtAll(), route, '', bearer(ALICE))).toBe(401)
    },
  )

  test.each(by('nobody'))('$name is $ok with any key, and without one', async (route) => {
    const calls = [nobodyAtAll(), clientOf(url, 'no-such-key'), bob(), alice]
    expect(await Promise.all(calls.map((call) => ask(call, route, '')))).toEqual(calls.map(() => route.ok))
  })

  test.each(['PATCH', 'DELETE', 'HEAD'])(
    'a POST that stands for %s is judged as that: 401, 403, and the owner is let in',
    async (method) => {
      const id = await create()
      const { ok, headers = {}, body } = RULES[`${method} /files/:id`] as Rule
      const post = { method: 'POST', path: '/files/:id', headers, ...(body !== undefined && { body }) }
      const override = { 'X-HTTP-Method-Override': method }
      expect(await ask(nobodyAtAll(), post, id, override)).toBe(401)
      expect(await ask(bob(), post, id, override)).toBe(403)
      expect(await ask(alice, post, id, override)).toBe(ok)
    },
  )

  const METHODS: Method[] = ['OPTIONS', 'HEAD', 'GET', 'POST', 'PUT', 'PATCH', 'DELETE']
  const paths = [...new Set(named.map(({ path }) => path.replace('{/:id}', '')))]
  /** Express answers HEAD by the row of GET. */
  const hasRow = (method: string, path: string) =>
    named.some(
      (row) =>
        row.path.replace('{/:id}', path.includes(':id') ? '/:id' : '') === path &&
        (row.method === method || (method === 'HEAD' && row.method === 'GET')),
    )
  const strays = paths.flatMap((path) =>
    METHODS.filter((method) => !hasRow(method, path)).map((method) => ({
      method,
      path,
      name: `${method} ${path}`,
    })),
  )

  test.each(strays)('$name, which is in no row, is 404 for everybody, and changes nothing', async (stray) => {
    const id = await create()
    // `init` is also where an upload could stand, and that is nobody's.
    const wanted = stray.path === '/v1/uploads/init' ? [401, 404] : [404]
    const before = (await alice('GET', `/v1/uploads/${id}`)).json
    for (const call of [nobodyAtAll(), bob(), alice]) expect(wanted).toContain(await ask(call, stray, id))
    expect((await alice('GET', `/v1/uploads/${id}`)).json).toEqual(before)
  })

  test.each(guarded.filter(({ method, path }) => method === 'GET' && !RULES[`HEAD ${path}`]))(
    'HEAD in place of $name is guarded like it',
    async (route) => {
      const id = await create(route.whole)
      const head = { ...route, method: 'HEAD' }
      expect(await ask(nobodyAtAll(), head, id)).toBe(401)
      if (route.who === 'owner' || route.who === 'sender') expect(await ask(bob(), head, id)).toBe(403)
    },
  )
})

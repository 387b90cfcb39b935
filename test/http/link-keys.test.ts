import { describe, expect, onTestFinished, test } from 'vitest'
import { clientOf, patchAt, type Client } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { findPostgres } from '../support/postgres.ts'
import { startTestServer } from '../support/server.ts'
import { bearer } from '../support/tokens.ts'

const postgres = await findPostgres()
const [OLD, NEW] = ['old:'.padEnd(40, 'o'), 'new:'.padEnd(40, 'n')]

/** What was signed by a server: a link to a complete upload, and a token for another one. */
interface Signed {
  link: string
  id: string
  token: string
}

async function signBy(call: Client): Promise<Signed> {
  const create = async (headers: Record<string, string>, body = '') => {
    const created = await call('POST', '/files', { headers: { ...headers, 'Upload-Length': '5' }, body })
    return created.headers.get('location')?.split('/').at(-1) ?? ''
  }
  const whole = await create(patchAt(0), 'hello')
  const { json: linked } = await call('POST', `/v1/uploads/${whole}/links`)
  const id = await create({ 'Tus-Resumable': '1.0.0' })
  const { json } = await call('POST', `/v1/uploads/${id}/tokens`)
  return { link: new URL(linked.url).pathname, id, token: json.token }
}

/** The statuses of the link and of the token. */
async function tryAt(url: string, { link, id, token }: Signed): Promise<number[]> {
  const stranger = clientOf(url, null)
  const shown = await stranger('GET', `/v1/uploads/${id}`, { headers: bearer(token) })
  return [(await stranger('GET', link)).status, shown.status]
}

const GOOD = [200, 200]
const REFUSED = [404, 401]

async function useServerAt(root: string, env: Record<string, string>) {
  const server = await startTestServer(env, root)
  let closed: Promise<void> | null = null
  const close = () => (closed ??= server.close())
  onTestFinished(close)
  return { ...server, close, call: clientOf(server.url) }
}

const databases = [
  { name: 'SQLite', available: true, database: async () => '' },
  { name: 'PostgreSQL', available: postgres.available, database: postgres.database },
]

describe.each(databases)('the key in the database, on $name', ({ available, database }) => {
  const setUp = async () => {
    const root = await useFolder()
    const url = await database()
    return { root, env: { LEASES: 'on', ...(url && { DATABASE_URL: url }) } }
  }

  test.skipIf(!available)('is one for all servers, whoever of them signs first', async () => {
    const { root, env } = await setUp()
    const [a, b] = [await useServerAt(root, env), await useServerAt(root, env)]
    const [byA, byB] = await Promise.all([signBy(a.call), signBy(b.call)])
    for (const signed of [byA, byB])
      for (const { url } of [a, b]) expect(await tryAt(url, signed)).toEqual(GOOD)
  })

  test.skipIf(!available)('outlives a restart', async () => {
    const { root, env } = await setUp()
    const before = await useServerAt(root, env)
    const signed = await signBy(before.call)
    await before.close()
    const after = await useServerAt(root, env)
    expect(await tryAt(after.url, signed)).toEqual(GOOD)
  })
})

test('another database has another key', async () => {
  const a = await useServerAt(await useFolder(), {})
  const signed = await signBy(a.call)
  const b = await useServerAt(await useFolder(), {})
  expect(await tryAt(b.url, signed)).toEqual(REFUSED)
})

describe('LINK_KEYS', () => {
  test('the first signs, and all verify: keys change one after the other without a gap', async () => {
    const root = await useFolder()
    const signedUnder: Signed[] = []
    for (const keys of [OLD, `${OLD},${NEW}`, `${NEW},${OLD}`]) {
      const server = await useServerAt(root, { LINK_KEYS: keys })
      signedUnder.push(await signBy(server.call))
      for (const signed of signedUnder) expect(await tryAt(server.url, signed)).toEqual(GOOD)
      await server.close()
    }
    const keyOf = ({ token }: Signed) => token.split('.')[1]
    expect(signedUnder.map(keyOf)).toEqual(['old', 'old', 'new'])

    const last = await useServerAt(root, { LINK_KEYS: NEW })
    const statuses = await Promise.all(signedUnder.map((signed) => tryAt(last.url, signed)))
    expect(statuses).toEqual([REFUSED, REFUSED, GOOD])
  })

  test('a secret counts under its own id alone', async () => {
    const root = await useFolder()
    const before = await useServerAt(root, { LINK_KEYS: OLD })
    const signed = await signBy(before.call)
    await before.close()
    const after = await useServerAt(root, { LINK_KEYS: OLD.replace('old:', 'new:') })
    expect(await tryAt(after.url, signed)).toEqual(REFUSED)
  })

  test('the key in the database does not count beside them', async () => {
    const root = await useFolder()
    const before = await useServerAt(root, {})
    const signed = await signBy(before.call)
    await before.close()
    const after = await useServerAt(root, { LINK_KEYS: NEW })
    expect(await tryAt(after.url, signed)).toEqual(REFUSED)
  })

  test('no secret gets into the log', async () => {
    const { call, lines, url } = await useServerAt(await useFolder(), { LINK_KEYS: OLD, LOG_LEVEL: 'trace' })
    await tryAt(url, await signBy(call))
    expect(JSON.stringify(lines)).not.toContain(OLD.slice(4))
  })
})

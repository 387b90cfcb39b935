import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setImmediate as later } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { clientOf, patchAt, TUS } from '../support/client.ts'
import { untilInflight } from '../support/load.ts'
import { openSocket } from '../support/raw.ts'
import { ALICE, BOB, startTestServer, type TestServer } from '../support/server.ts'
import { JWT_SECRET } from '../support/tokens.ts'
import { caseOf, type Case, type World } from './fuzz/cases.ts'

/** FUZZ_SEED=… FUZZ_CASES=… for others, and more of them; FUZZ_ONLY=… for one, which is printed. */
const seed = Number(process.env['FUZZ_SEED'] ?? 20_261_124)
const count = Number(process.env['FUZZ_CASES'] ?? 2000)
const only = process.env['FUZZ_ONLY']

const AT_ONCE = 16
/** A connection that is not closed by then hangs. */
const PATIENCE_MS = 20_000
/** A client that was broken off is silent for so long before it goes. */
const SILENCE_MS = 100

/** Sends a case on a connection of its own. @returns what came back until it closed, null when it hangs */
async function play(url: string, { kind, pieces }: Case): Promise<string | null> {
  const socket = openSocket(url)
  let told = ''
  socket.setEncoding('latin1').on('data', (text: string) => (told += text))
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.once('close', resolve))
  for (const piece of pieces) {
    if (!socket.destroyed) socket.write(piece)
    await later()
  }
  if (kind === 'open') setTimeout(() => socket.end(), SILENCE_MS)
  let hangs = false
  const patience = setTimeout(() => {
    hangs = true
    socket.destroy()
  }, PATIENCE_MS)
  await closed
  clearTimeout(patience)
  return hangs ? null : told
}

const statusesOf = (told: string): number[] =>
  [...told.matchAll(/HTTP\/1\.1 (\d{3}) [A-Z]/g)].map(([, status]) => Number(status))

/** What is wrong with the answer to a case; null when nothing is. */
function complaint({ kind }: Case, told: string | null): string | null {
  if (told === null) return 'hangs'
  const [first, ...more] = statusesOf(told)
  if (kind === 'ambiguous' && (first !== 400 || more.length > 0)) return 'was not refused, or more was served'
  if (kind === 'whole' && first === undefined) return 'got no answer'
  return null
}

/** The data in a folder within another, so that a way out of it would be seen. */
async function serverInside(): Promise<{ server: TestServer; outside: string }> {
  const outside = await mkdtemp(path.join(tmpdir(), 'fuzz-'))
  const root = path.join(outside, 'a', 'b')
  await mkdir(root, { recursive: true })
  await writeFile(path.join(outside, 'secret.txt'), 'secret')
  const server = await startTestServer(
    {
      AUTH_MODE: 'hybrid',
      JWT_SECRET,
      ADMIN_USER_IDS: 'bob',
      AUTH_FAILURES_PER_MINUTE: '0',
      CHUNK_SIZE_BYTES: '100',
      MAX_UPLOAD_BYTES: '1000000',
      BODY_IDLE_TIMEOUT_SECONDS: '1',
      CORS_ALLOWED_ORIGINS: 'https://app.example.com',
      TRUST_PROXY: 'true',
      LOG_LEVEL: 'trace',
    },
    root,
  )
  onTestFinished(async () => {
    await server.close()
    await rm(outside, { recursive: true, force: true })
  })
  return { server, outside }
}

const createUpload = async (url: string, key: string): Promise<string> => {
  const body = { file_name: 'a', file_size: 300 }
  return (await clientOf(url, key)('POST', '/v1/uploads/init', { body })).json.upload_id
}
/** @returns the id of an upload of Alice's that is complete, or whole and a part of others */
async function createWhole(url: string, headers: Record<string, string> = {}): Promise<string> {
  const answer = await clientOf(url)('POST', '/files', {
    headers: { ...patchAt(0), 'Upload-Length': '5', ...headers },
    body: 'hello',
  })
  return answer.headers.get('location')?.split('/').at(-1) ?? ''
}

const createUploads = (url: string): Promise<string[]> =>
  Promise.all([
    ...[ALICE, ALICE, ALICE, ALICE, ALICE, BOB].map((key) => createUpload(url, key)),
    createWhole(url),
    createWhole(url),
    createWhole(url, { 'Upload-Concat': 'partial' }),
  ])

/** A link to one of Alice's, and tokens for the first of them. */
async function signedFor(
  url: string,
  uploads: readonly string[],
): Promise<Omit<World, 'uploads' | 'victim'>> {
  const call = clientOf(url)
  const tokens = await Promise.all(
    uploads.slice(0, 2).map(async (id) => (await call('POST', `/v1/uploads/${id}/tokens`)).json.token),
  )
  const { json } = await call('POST', `/v1/uploads/${uploads.at(-2)}/links`)
  return { link: json.url.split('/').at(-1), tokens }
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** What lies in the folder and is neither the database nor the bytes of an upload. */
const strays = async (outside: string): Promise<string[]> =>
  (await readdir(outside, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && !(entry.parentPath.includes('/a/b/files/') && UUID.test(entry.name)))
    .map((entry) => path.relative(outside, path.join(entry.parentPath, entry.name)))
    .toSorted()

test(
  `${only === undefined ? `${count} connections` : `connection ${only}`} of nonsense: no 500, no hang, nothing smuggled, nothing outside (seed ${seed})`,
  async () => {
    const { server, outside } = await serverInside()
    const { url, lines } = server
    const uploads = await createUploads(url)
    const signed = await signedFor(url, uploads)
    const world: World = { uploads, ...signed, victim: await createUpload(url, ALICE) }
    const numbers = only === undefined ? Array.from({ length: count }, (_, at) => at) : [Number(only)]
    const complaints: string[] = []
    const seen = new Map<string, number>()
    const player = async () => {
      for (let number = numbers.shift(); number !== undefined; number = numbers.shift()) {
        // What was deleted or completed answers all alike.
        if (number % 50 === 49) {
          world.uploads = await createUploads(url)
          Object.assign(world, await signedFor(url, world.uploads))
        }
        const it = caseOf(seed, number, world)
        const told = await play(url, it)
        const wrong = complaint(it, told)
        if (wrong !== null) complaints.push(`case ${number}, ${it.kind}: ${wrong}`)
        if (only !== undefined) console.log(String(Buffer.concat(it.pieces)), '\n→', told)
        for (const status of statusesOf(told ?? '')) {
          const key = `${it.kind} ${status}`
          seen.set(key, (seen.get(key) ?? 0) + 1)
        }
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, player))
    if (process.env['FUZZ_CASES'] !== undefined) console.log(Object.fromEntries(seen))

    expect(complaints).toEqual([])
    // 503 is what a writer gets whose upload another connection deletes.
    expect(lines.filter(({ status, level }) => Number(level) >= 50 && status !== 503)).toEqual([])
    const text = JSON.stringify(lines)
    for (const secret of [ALICE, BOB, JWT_SECRET, 'eyJ', 'link1.', 'upload1.'])
      expect(text).not.toContain(secret)
    const call = clientOf(url)
    await untilInflight(call, 0)
    expect((await call('GET', `/v1/uploads/${world.victim}`)).json).toMatchObject({
      status: 'INITIATED',
      offset: 0,
    })
    expect(
      (await strays(outside)).filter((name) => !/^a\/b\/(uploads\.db.*|files\/\.storage-root)$/.test(name)),
    ).toEqual(['secret.txt'])
    // It still serves as if nothing had been.
    const created = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '5' } })
    const location = new URL(created.headers.get('location') ?? '').pathname
    expect((await call('PATCH', location, { headers: patchAt(0), body: 'hello' })).status).toBe(204)
    expect((await call('GET', location)).text).toBe('hello')
  },
  Math.max(120_000, count * 50),
)

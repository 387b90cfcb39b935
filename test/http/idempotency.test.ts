import { randomUUID } from 'node:crypto'
import { request } from 'node:http'
import { beforeEach, describe, expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, TUS, type Answer, type Client } from '../support/client.ts'
import { ALICE, BOB, useServer, type TestServer } from '../support/server.ts'
import { slowRequest } from '../support/slow-request.ts'

const CHUNK = 1000
const BYTES = bytesOf(3 * CHUNK)
const FILE = { file_name: 'a.bin', file_size: BYTES.length, chunk_size: CHUNK, metadata: { a: 1, b: [2] } }
const chunk = (index: number) => BYTES.subarray(index * CHUNK, (index + 1) * CHUNK)

let server: TestServer
let alice: Client
beforeEach(async () => {
  server = await useServer()
  alice = clientOf(server.url)
})

const withKey = (key: string | null, headers: object = {}) => ({
  headers: { ...headers, ...(key !== null && { 'Idempotency-Key': key }) },
})
const init = (key: string | null, body: object = FILE, call = alice) =>
  call('POST', '/v1/uploads/init', { ...withKey(key), body })
const create = async (): Promise<string> => (await init(null)).json.upload_id
const put = (id: string, index: number, key: string | null, bytes: Buffer = chunk(index), headers = {}) =>
  alice('PUT', `/v1/uploads/${id}/chunks/${index}`, { ...withKey(key, headers), body: bytes })
const complete = (id: string, key: string | null, call = alice) =>
  call('POST', `/v1/uploads/${id}/complete`, withKey(key))
const remove = (id: string) => alice('DELETE', `/v1/uploads/${id}`)
const fill = async (id: string) => {
  for (const index of [0, 1, 2]) expect((await put(id, index, null)).status).toBe(202)
}
const count = async (call = alice): Promise<number> => (await call('GET', '/v1/uploads')).json.uploads.length
const told = ({ status, headers, json }: Answer) => ({
  status,
  location: headers.get('location'),
  tus: headers.get('x-tus-location'),
  json,
})
const refused = ({ status, json }: Answer) => [status, json.error_code]
const CONFLICT = [409, 'conflict']

describe('init', () => {
  test('the same key and payload create once and get the first answer each time, whatever became of the upload', async () => {
    const first = await init('k')
    const id = first.json.upload_id
    expect(told(first)).toMatchObject({ status: 201, location: `/v1/uploads/${id}`, tus: `/files/${id}` })
    const again = async () => expect(told(await init('k'))).toEqual(told(first))
    await again()
    await fill(id)
    await again()
    await complete(id, null)
    await again()
    expect(await count()).toBe(1)
    await remove(id)
    await again()
    expect(await count()).toBe(0)
    const { text } = await alice('GET', '/metrics')
    expect(text).toContain('uploads_created_total{dialect="native"} 1\n')
  })

  test('the order of fields makes no other payload; any other value does, and creates nothing', async () => {
    const { json } = await init('k')
    const reordered = { metadata: { b: [2], a: 1 }, chunk_size: CHUNK, file_size: 3000, file_name: 'a.bin' }
    expect((await init('k', reordered)).json).toEqual(json)
    for (const change of [
      { file_name: 'b.bin' },
      { file_size: 2999 },
      { chunk_size: 999 },
      { metadata: { a: 1, b: [3] } },
      { content_type: 'text/plain' },
    ])
      expect(refused(await init('k', { ...FILE, ...change }))).toEqual(CONFLICT)
    expect(await count()).toBe(1)
  })

  test('ten at once with one key create one upload and all get it', async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, () => init('k')))
    for (const answer of answers) expect(told(answer)).toEqual(told(answers[0] as Answer))
    expect(answers[0]?.status).toBe(201)
    expect(await count()).toBe(1)
  })

  test("a key is its owner's: another user's same key makes an upload of their own", async () => {
    const bob = clientOf(server.url, BOB)
    const [mine, theirs] = [await init('k'), await init('k', FILE, bob)]
    expect(theirs.status).toBe(201)
    expect(theirs.json.upload_id).not.toBe(mine.json.upload_id)
    expect([await count(), await count(bob)]).toEqual([1, 1])
  })

  test('what was refused takes no key', async () => {
    expect((await init('k', { ...FILE, file_size: -1 })).status).toBe(422)
    expect((await init('k', { ...FILE, file_size: 10 ** 15 })).status).toBe(413)
    expect((await init('k')).status).toBe(201)
  })

  test('without a key each creates an upload', async () => {
    await init(null)
    await init(null)
    expect(await count()).toBe(2)
  })

  test('tus has no such header and goes by none', async () => {
    const headers = { ...TUS, 'Upload-Length': '5', 'Idempotency-Key': 'k' }
    for (let i = 0; i < 2; i++) expect((await alice('POST', '/files', { headers })).status).toBe(201)
    expect(await count()).toBe(2)
    expect((await init('k')).status).toBe(201)
  })
})

describe('a chunk', () => {
  test('with the same key answers 202 for the same bytes and 409 for others, and they stay as they were', async () => {
    const id = await create()
    const first = await put(id, 0, 'k')
    expect(told(await put(id, 0, 'k'))).toEqual(told(first))
    expect(refused(await put(id, 0, 'k', chunk(1)))).toEqual(CONFLICT)
    expect((await put(id, 0, 'k', chunk(0).subarray(1))).status).toBe(400)
    expect((await put(id, 0, null)).status).toBe(202)
  })

  test('keeps both after the upload is complete, and answers 202 unread once it is deleted', async () => {
    const id = await create()
    const first = await put(id, 0, 'k')
    for (const index of [1, 2]) await put(id, index, null)
    await complete(id, null)
    expect(refused(await put(id, 0, null))).toEqual(CONFLICT)
    expect(told(await put(id, 0, 'k'))).toEqual(told(first))
    expect(refused(await put(id, 0, 'k', chunk(1)))).toEqual(CONFLICT)
    await remove(id)
    expect((await put(id, 0, null)).status).toBe(404)
    expect(told(await put(id, 0, 'k'))).toEqual(told(first))
    expect((await put(id, 1, 'other')).status).toBe(404)
    const large = slowRequest(server.url, 'PUT', `/v1/uploads/${id}/chunks/0`, {
      'Idempotency-Key': 'k',
      'Content-Length': String(64 * MIB),
      Expect: '100-continue',
    })
    large.req.on('continue', () => large.req.destroy(new Error('the body was asked for')))
    expect((await large.answer).status).toBe(202)
  })

  test('under the key of another one, or of another upload, is 409 before its body is asked for', async () => {
    const [id, other] = [await create(), await create()]
    await put(id, 0, 'k')
    for (const path of [`/v1/uploads/${id}/chunks/1`, `/v1/uploads/${other}/chunks/0`]) {
      const { req, answer } = slowRequest(server.url, 'PUT', path, {
        'Idempotency-Key': 'k',
        'Content-Length': String(CHUNK),
        Expect: '100-continue',
      })
      req.on('continue', () => req.destroy(new Error('the body was asked for')))
      expect((await answer).status).toBe(409)
    }
    expect((await alice('GET', `/v1/uploads/${other}`)).json.uploaded_chunks).toBe(0)
  })

  test('with another digest under its key is 409, whatever its bytes', async () => {
    const id = await create()
    const digest = (bytes: Buffer) => ({ 'X-Chunk-SHA256': sha256(bytes) })
    await put(id, 0, 'k', chunk(0), digest(chunk(0)))
    const asBase64 = {
      'Content-Digest': `sha-256=:${Buffer.from(sha256(chunk(0)), 'hex').toString('base64')}:`,
    }
    expect((await put(id, 0, 'k', chunk(0), asBase64)).status).toBe(202)
    expect(refused(await put(id, 0, 'k', chunk(1), digest(chunk(1))))).toEqual(CONFLICT)
    await remove(id)
    expect(refused(await put(id, 0, 'k', chunk(1), digest(chunk(1))))).toEqual(CONFLICT)
    expect((await put(id, 0, 'k', chunk(0), digest(chunk(0)))).status).toBe(202)
  })

  test('that failed takes no key', async () => {
    const id = await create()
    expect((await put(id, 0, 'k', chunk(0).subarray(1))).status).toBe(400)
    expect((await put(id, 0, 'k', chunk(0), { 'X-Chunk-SHA256': sha256(chunk(1)) })).status).toBe(400)
    expect((await put(id, 1, 'k')).status).toBe(202)
    expect((await alice('GET', `/v1/uploads/${id}/missing-chunks`)).json.missing_chunk_indexes).toEqual([
      0, 2,
    ])
  })

  test('that was freed is stored anew under its key', async () => {
    const id = await create()
    await put(id, 0, 'k', chunk(1))
    await alice('DELETE', `/v1/uploads/${id}/chunks/0`)
    expect((await put(id, 0, 'k')).status).toBe(202)
    await put(id, 1, null)
    await put(id, 2, null)
    await complete(id, null)
    const response = await fetch(`${server.url}/v1/uploads/${id}/download`, {
      headers: { 'X-API-Key': ALICE },
    })
    expect(sha256(Buffer.from(await response.arrayBuffer()))).toBe(sha256(BYTES))
  })
})

describe('complete', () => {
  test('a refusal is not kept: once the chunks are there the same key completes, and answers the same ever after', async () => {
    const id = await create()
    expect(refused(await complete(id, 'k'))).toEqual(CONFLICT)
    await fill(id)
    const first = await complete(id, 'k')
    expect(told(first)).toMatchObject({ status: 200, json: { upload_id: id, status: 'COMPLETED' } })
    expect(told(await complete(id, 'k'))).toEqual(told(first))
    await remove(id)
    expect(told(await complete(id, 'k'))).toEqual(told(first))
    expect((await complete(id, null)).status).toBe(404)
    expect((await complete(id, 'other')).status).toBe(404)
    expect((await complete(id, 'k', clientOf(server.url, BOB))).status).toBe(404)
    expect((await complete(id, 'k', clientOf(server.url, null))).status).toBe(401)
  })

  test('of another upload under the same key is 409, and leaves it open', async () => {
    const [id, other] = [await create(), await create()]
    await fill(id)
    await fill(other)
    await complete(id, 'k')
    expect(refused(await complete(other, 'k'))).toEqual(CONFLICT)
    expect((await alice('GET', `/v1/uploads/${other}`)).json.status).toBe('IN_PROGRESS')
  })

  test("of another user's upload is 403 with any key", async () => {
    const id = await create()
    await fill(id)
    await complete(id, 'k')
    expect((await complete(id, 'k', clientOf(server.url, BOB))).status).toBe(403)
  })
})

test('a key of one route is another request on every other', async () => {
  const id = (await init('init')).json.upload_id
  await put(id, 0, 'chunk')
  await put(id, 1, null)
  await put(id, 2, null)
  for (const key of ['init', 'chunk']) expect(refused(await complete(id, key))).toEqual(CONFLICT)
  expect(refused(await put(id, 1, 'init'))).toEqual(CONFLICT)
  expect(refused(await init('chunk'))).toEqual(CONFLICT)
})

test.each(['~'.repeat(255), 'with spaces and "quotes"', '!'])('a key may be %j', async (key) => {
  expect(told(await init(key))).toEqual(told(await init(key)))
})

test.each([
  ['empty', ['']],
  ['of 256 characters', ['x'.repeat(256)]],
  ['not ASCII', ['schlüssel']],
  ['of two headers', ['a', 'b']],
])('a key that is %s is 400, and nothing is done', async (_what, keys) => {
  const id = await create()
  await fill(id)
  const ask = (method: string, path: string, body: string | Buffer, type: string) =>
    new Promise<number>((resolve, reject) => {
      const headers = { 'X-API-Key': ALICE, 'Content-Type': type, 'Idempotency-Key': keys }
      const req = request(server.url + path, { method, headers }, (res) => {
        resolve(res.resume().statusCode ?? 0)
      })
      req.on('error', reject).end(body)
    })
  expect(await ask('POST', '/v1/uploads/init', JSON.stringify(FILE), 'application/json')).toBe(400)
  expect(await ask('PUT', `/v1/uploads/${id}/chunks/0`, chunk(0), 'application/octet-stream')).toBe(400)
  expect(await ask('POST', `/v1/uploads/${id}/complete`, '', 'application/json')).toBe(400)
  expect((await alice('GET', `/v1/uploads/${id}`)).json.status).toBe('IN_PROGRESS')
  expect(await count()).toBe(1)
})

test('a key of an upload that never was is 404', async () => {
  expect((await complete(randomUUID(), 'k')).status).toBe(404)
  expect((await put(randomUUID(), 0, 'k')).status).toBe(404)
  expect((await complete('x', 'k')).status).toBe(404)
})

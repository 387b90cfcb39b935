import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { bytesOf, sha256 } from '../support/bytes.ts'
import { clientOf, patchAt, TUS, type Answer, type Client } from '../support/client.ts'
import { untilInflight } from '../support/load.ts'
import { BOB, startTestServer, useServer, type TestServer } from '../support/server.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const CHUNK = 1000
const bytes = bytesOf(3 * CHUNK)
const chunk = (index: number) => bytes.subarray(index * CHUNK, (index + 1) * CHUNK)

let server: TestServer
let call: Client
beforeAll(async () => {
  // On S3 files of that length take longer chunks than there is memory for by default.
  const longFiles = { MAX_UPLOAD_BYTES: '1000000000000', S3_PART_BUFFER_BYTES: '134217728' }
  server = await startTestServer(longFiles)
  call = clientOf(server.url)
})
afterAll(() => server.close())

const initiate = async (fields: object = {}): Promise<string> =>
  (
    await call('POST', '/v1/uploads/init', {
      body: { file_name: 'a.bin', file_size: bytes.length, chunk_size: CHUNK, ...fields },
    })
  ).json.upload_id

const refused = (answer: Answer, status: number, code: string, id: string | null = null) => {
  expect(answer.status).toBe(status)
  expect(answer.json).toEqual({
    detail: expect.any(String),
    error_code: code,
    request_id: answer.headers.get('x-request-id'),
    upload_id: id,
    trace_id: null,
  })
}

describe('init refuses, and creates nothing,', () => {
  const create = (body: unknown, headers = {}) =>
    call('POST', '/v1/uploads/init', {
      body: typeof body === 'string' ? body : JSON.stringify(body),
      headers: { 'Content-Type': 'application/json', ...headers },
    })
  const countUploads = async () => (await call('GET', '/v1/uploads?limit=1000')).json.uploads.length
  let before: number
  beforeEach(async () => {
    before = await countUploads()
  })

  const good = { file_name: 'a', file_size: 1 }
  test.each([
    ['malformed JSON', '{"file_name": "a"', 400, 'bad_request'],
    ['no body at all', '', 400, 'bad_request'],
    ['an array', [], 422, 'unprocessable'],
    ['a negative size', { ...good, file_size: -1 }, 422, 'unprocessable'],
    ['a fractional size', { ...good, file_size: 1.5 }, 422, 'unprocessable'],
    ['a size of 1e20', '{"file_name":"a","file_size":1e20}', 422, 'unprocessable'],
    ['a size in words', { ...good, file_size: '12' }, 422, 'unprocessable'],
    ['a size over 2^53-1', '{"file_name":"a","file_size":9007199254740993}', 422, 'unprocessable'],
    ['a chunk_size of 0', { ...good, chunk_size: 0 }, 422, 'unprocessable'],
    ['a negative chunk_size', { ...good, chunk_size: -5 }, 422, 'unprocessable'],
    ['too many chunks', { ...good, file_size: 10_001, chunk_size: 1 }, 422, 'unprocessable'],
    ['an empty name', { ...good, file_name: '' }, 422, 'unprocessable'],
    ['a checksum that is none', { ...good, file_checksum_sha256: 'abc' }, 422, 'unprocessable'],
    ['metadata over 4 KiB', { ...good, metadata: { a: 'x'.repeat(5000) } }, 422, 'unprocessable'],
    ['a file over MAX_UPLOAD_BYTES', { ...good, file_size: 1_000_000_000_001 }, 413, 'payload_too_large'],
    ['JSON over 64 KiB', { ...good, metadata: { a: 'x'.repeat(70_000) } }, 413, 'payload_too_large'],
  ])('%s', async (_what, body, status, code) => {
    const answer = await create(body)
    expect([answer.status, answer.json.error_code]).toEqual([status, code])
    if (status === 422)
      expect(answer.json.detail).toMatch(
        /^(file_name|file_size|chunk_size|file_checksum_sha256|metadata|body): /,
      )
    expect(await countUploads()).toBe(before)
  })

  test('another content type', async () => {
    refused(await create(good, { 'Content-Type': 'text/plain' }), 415, 'unsupported_media_type')
    expect(await countUploads()).toBe(before)
  })
})

describe('a chunk is refused and nothing changes', () => {
  test.each([
    ['empty', '0', Buffer.alloc(0), {}, 400, 'bad_request'],
    ['too short', '0', chunk(0).subarray(1), {}, 400, 'bad_request'],
    ['too long', '0', bytes.subarray(0, CHUNK + 1), {}, 413, 'payload_too_large'],
    ['an index out of bounds', '3', chunk(0), {}, 400, 'bad_request'],
    ['a negative index', '-1', chunk(0), {}, 400, 'bad_request'],
    ['an index that is no number', '1e0', chunk(0), {}, 400, 'bad_request'],
    ['an index of 20 digits', '99999999999999999999', chunk(0), {}, 400, 'bad_request'],
    ['a wrong X-Chunk-SHA256', '0', chunk(0), { 'X-Chunk-SHA256': sha256(chunk(1)) }, 400, 'bad_request'],
    ['a malformed X-Chunk-SHA256', '0', chunk(0), { 'X-Chunk-SHA256': 'zz' }, 400, 'bad_request'],
    [
      'a wrong Content-Digest',
      '0',
      chunk(0),
      { 'Content-Digest': `sha-256=:${Buffer.from(sha256(chunk(1)), 'hex').toString('base64')}:` },
      400,
      'bad_request',
    ],
  ])('%s', async (_what, index, body, headers, status, code) => {
    const id = await initiate()
    refused(await call('PUT', `/v1/uploads/${id}/chunks/${index}`, { body, headers }), status, code, id)
    expect((await call('GET', `/v1/uploads/${id}`)).json).toMatchObject({
      status: 'INITIATED',
      uploaded_chunks: 0,
    })
  })

  test('a chunked body that is too long or too short', async () => {
    const id = await initiate()
    for (const [length, status] of [
      [CHUNK + 1, 413],
      [CHUNK - 1, 400],
      [0, 400],
    ] as const) {
      const put = slowRequest(server.url, 'PUT', `/v1/uploads/${id}/chunks/0`, {
        'Transfer-Encoding': 'chunked',
      })
      await put.send(bytes.subarray(0, length))
      put.end()
      expect((await put.answer).status).toBe(status)
    }
    expect((await call('GET', `/v1/uploads/${id}`)).json).toMatchObject({ status: 'INITIATED', offset: 0 })
  })

  test('a client that breaks off in mid-chunk: nothing counts, the log says 499, and the chunk can come again', async () => {
    const id = await initiate()
    const put = slowRequest(server.url, 'PUT', `/v1/uploads/${id}/chunks/0`, {
      'Content-Length': String(CHUNK),
    })
    await put.send(chunk(1).subarray(0, 500))
    await untilInflight(call, 1)
    put.cut()
    await eventually(
      () => server.lines.some((line) => line['upload_id'] === id && line['status'] === 499),
      'a 499 in the log',
    )
    expect((await call('GET', `/v1/uploads/${id}/missing-chunks`)).json.missing_chunk_indexes).toEqual([
      0, 1, 2,
    ])
    expect((await call('PUT', `/v1/uploads/${id}/chunks/0`, { body: chunk(0) })).status).toBe(202)
  })

  test('a chunked body that breaks off behind its last byte counts nothing', async () => {
    const id = await initiate()
    const put = slowRequest(server.url, 'PUT', `/v1/uploads/${id}/chunks/0`, {
      'Transfer-Encoding': 'chunked',
    })
    await put.send(chunk(0))
    await untilInflight(call, 1)
    put.cut()
    await untilInflight(call, 0)
    expect((await call('GET', `/v1/uploads/${id}`)).json).toMatchObject({ status: 'INITIATED', offset: 0 })
  })

  test('an upload that is complete takes none', async () => {
    const id = await initiate({ file_size: CHUNK })
    await call('PUT', `/v1/uploads/${id}/chunks/0`, { body: chunk(0) })
    await call('POST', `/v1/uploads/${id}/complete`)
    refused(await call('PUT', `/v1/uploads/${id}/chunks/0`, { body: chunk(0) }), 409, 'conflict', id)
    refused(await call('DELETE', `/v1/uploads/${id}/chunks/0`), 409, 'conflict', id)
  })
})

describe('complete and download are 409', () => {
  test('with no chunk at all, and with chunks missing', async () => {
    const id = await initiate()
    refused(await call('POST', `/v1/uploads/${id}/complete`), 409, 'conflict', id)
    await call('PUT', `/v1/uploads/${id}/chunks/1`, { body: chunk(1) })
    refused(await call('POST', `/v1/uploads/${id}/complete`), 409, 'conflict', id)
    refused(await call('GET', `/v1/uploads/${id}/download`), 409, 'conflict', id)
    expect((await call('GET', `/v1/uploads/${id}`)).json.status).toBe('IN_PROGRESS')
  })

  test('while a deferred length is not declared', async () => {
    const { headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Defer-Length': '1' } })
    const id = headers.get('location')?.split('/').at(-1) ?? ''
    refused(await call('POST', `/v1/uploads/${id}/complete`), 409, 'conflict', id)
    expect((await call('GET', `/v1/uploads/${id}`)).json).toMatchObject({
      file_size: null,
      total_chunks: null,
    })
  })
})

describe('who may', () => {
  test('a missing key and an unknown one get the same answer', async () => {
    const answers = await Promise.all(
      [null, 'no-such-key'].map((key) => clientOf(server.url, key)('GET', '/v1/uploads')),
    )
    for (const answer of answers) refused(answer, 401, 'missing_api_key')
    expect(answers[0]?.json.detail).toBe(answers[1]?.json.detail)
  })

  test("another user's upload is 403", async () => {
    const id = await initiate()
    refused(await clientOf(server.url, BOB)('GET', `/v1/uploads/${id}`), 403, 'forbidden', id)
  })

  test('a bearer token is a key too', async () => {
    const answer = await clientOf(server.url, null)('GET', '/v1/uploads', {
      headers: { Authorization: `Bearer ${BOB}` },
    })
    expect(answer.status).toBe(200)
  })

  test.each([
    '/v1/uploads/..%2f..%2fetc%2fpasswd',
    '/v1/uploads/not-a-uuid/missing-chunks',
    '/v1/uploads/00000000-0000-4000-8000-000000000000',
    '/v1/uploads/%2e%2e/download',
    '/files/..%2f..%2fuploads.db',
    '/files/00000000-0000-4000-8000-000000000000?x=1',
    '/v1/nothing',
    '/nothing',
    '/%zz',
  ])('%s is 404', async (path) => {
    expect((await call('GET', path)).status).toBe(404)
  })
})

test('an expired upload is 410 on every route of both dialects', async () => {
  const short = await useServer({ UPLOAD_TTL_SECONDS: '1' })
  const ask = clientOf(short.url)
  const { json } = await ask('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 10 } })
  const id = json.upload_id
  await eventually(async () => (await ask('GET', `/v1/uploads/${id}`)).status === 410, 'the upload expires')
  const answers = await Promise.all([
    ask('PUT', `/v1/uploads/${id}/chunks/0`, { body: Buffer.alloc(10) }),
    ask('POST', `/v1/uploads/${id}/complete`),
    ask('GET', `/v1/uploads/${id}/missing-chunks`),
    ask('GET', `/v1/uploads/${id}/download`),
    ask('HEAD', `/files/${id}`, { headers: TUS }),
    ask('PATCH', `/files/${id}`, { headers: patchAt(0), body: Buffer.alloc(10) }),
    ask('GET', `/files/${id}`),
  ])
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 410))
  expect(answers[0]?.json.error_code).toBe('gone')
})

test('a request id that is sane is taken over, and another is not', async () => {
  const own = await call('GET', '/v1/uploads', { headers: { 'X-Request-ID': 'abc-123' } })
  expect(own.headers.get('x-request-id')).toBe('abc-123')
  const other = await call('GET', '/v1/uploads', { headers: { 'X-Request-ID': 'a b"<script>' } })
  expect(other.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
})

test('two clients that PATCH one upload at once: one wins, the other is told 423, and the file is right', async () => {
  const length = 6_000_000
  const file = bytesOf(length)
  const { headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': String(length) } })
  const path = new URL(headers.get('location') ?? '').pathname
  const first = slowRequest(server.url, 'PATCH', path, { ...patchAt(0), 'Content-Length': String(length) })
  await first.send(file.subarray(0, 1_000_000))
  await untilInflight(call, 1)

  const second = await call('PATCH', path, { headers: patchAt(0), body: Buffer.alloc(length) })
  expect(second.status).toBe(423)
  await first.send(file.subarray(1_000_000))
  first.end()
  expect((await first.answer).status).toBe(204)
  const stored = await fetch(server.url + path, { headers: { 'X-API-Key': 'alice-key' } })
  expect(sha256(Buffer.from(await stored.arrayBuffer()))).toBe(sha256(file))
})

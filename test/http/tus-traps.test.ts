import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS, type Client } from '../support/client.ts'
import { ALICE, BOB, startTestServer, useServer, type TestServer } from '../support/server.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const MAX = 100_000_000
const APPEND = 'application/offset+octet-stream'

let server: TestServer
let call: Client
beforeAll(async () => {
  server = await startTestServer({ CHUNK_SIZE_BYTES: String(MIB), MAX_UPLOAD_BYTES: String(MAX) })
  call = clientOf(server.url)
})
afterAll(() => server.close())

const post = (headers: Record<string, string>, body?: string, ask: Client = call) =>
  ask('POST', '/files', { headers: { ...TUS, ...headers }, ...(body !== undefined && { body }) })
const pathOf = (headers: Headers) => new URL(headers.get('location') ?? '', 'http://x').pathname
const create = async (length: number, headers = {}, ask: Client = call): Promise<string> =>
  pathOf((await post({ 'Upload-Length': String(length), ...headers }, undefined, ask)).headers)
const head = (path: string, ask: Client = call) => ask('HEAD', path, { headers: TUS })
const offsetOf = async (path: string) => Number((await head(path)).headers.get('upload-offset'))
const inflight = (count: number) =>
  eventually(
    async () => (await call('GET', '/metrics')).text.includes(`\ninflight_chunks ${count}\n`),
    `${count} bodies are in flight`,
  )

describe('1. backpressure on tus is 503 with Retry-After, and a lock that can not be had is 423', () => {
  test('a HEAD that fails for the moment is 423, whatever failed', async () => {
    const own = await useServer()
    const ask = clientOf(own.url)
    const path = await create(5, {}, ask)
    const broken = await useServer()
    expect((await head(path, clientOf(broken.url))).status).toBe(404)
    await own.close()
    // A draining server refuses everything; HEAD says "later".
    const draining = await startTestServer({ SHUTDOWN_GRACE_SECONDS: '1' })
    const slow = await create(1000, {}, clientOf(draining.url))
    const patch = slowRequest(draining.url, 'PATCH', slow, { ...patchAt(0), 'Content-Length': '1000' })
    await patch.send(bytesOf(10))
    const keep = slowRequest(draining.url, 'HEAD', slow, TUS)
    keep.end()
    expect((await keep.answer).status).toBe(200)
    const closing = draining.close()
    patch.cut()
    await closing
  })
})

describe('2. a HEAD does not kill a healthy PATCH, and a PATCH whose client is gone gives way', () => {
  test('a HEAD during a PATCH tells the committed offset at once and the PATCH goes on', async () => {
    const bytes = bytesOf(3 * MIB)
    const path = await create(bytes.length)
    const patch = slowRequest(server.url, 'PATCH', path, {
      ...patchAt(0),
      'Content-Length': String(bytes.length),
    })
    await patch.send(bytes.subarray(0, 1.5 * MIB))
    await eventually(async () => (await offsetOf(path)) === MIB, 'the first cell is committed')
    await patch.send(bytes.subarray(1.5 * MIB))
    patch.end()
    expect((await patch.answer).headers['upload-offset']).toBe(String(bytes.length))
    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
  })

  test('the bytes of a client that vanished count, and the next PATCH goes on behind them at once', async () => {
    const bytes = bytesOf(2 * MIB)
    const path = await create(bytes.length)
    const gone = slowRequest(server.url, 'PATCH', path, {
      ...patchAt(0),
      'Content-Length': String(bytes.length),
    })
    await gone.send(bytes.subarray(0, 700_000))
    await inflight(1)
    gone.cut()
    await eventually(async () => (await offsetOf(path)) === 700_000, 'what arrived counts')
    const next = await call('PATCH', path, { headers: patchAt(700_000), body: bytes.subarray(700_000) })
    expect(next.status).toBe(204)
    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
  })

  test('a silent client without a word gives way to the next one, with its bytes', async () => {
    const bytes = bytesOf(1000)
    const path = await create(bytes.length)
    const silent = slowRequest(server.url, 'PATCH', path, { ...patchAt(0), 'Content-Length': '1000' })
    await silent.send(bytes.subarray(0, 400))
    await inflight(1)
    await eventually(async () => {
      const next = await call('PATCH', path, { headers: patchAt(400), body: bytes.subarray(400) })
      expect([204, 423]).toContain(next.status)
      return next.status === 204
    }, 'the silent one gave way')
    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
    silent.cut()
  })
})

describe('4. the upload finishes exactly once', () => {
  test('though the last PATCH is repeated, and completed natively, too', async () => {
    const own = await useServer()
    const ask = clientOf(own.url)
    const path = await create(5, {}, ask)
    await ask('PATCH', path, { headers: patchAt(0), body: 'hello' })
    await ask('PATCH', path, { headers: patchAt(0), body: 'hello' })
    await ask('PATCH', path, { headers: patchAt(5) })
    await ask('POST', `${path.replace('/files/', '/v1/uploads/')}/complete`)
    expect((await ask('GET', '/metrics')).text).toContain('uploads_completed_total{dialect="tus"} 1\n')
  })
})

describe('5. a finished upload does not expire', () => {
  test('its HEAD stays 200, its bytes stay, and an unfinished one beside it is 410 without bytes', async () => {
    const own = await useServer({ UPLOAD_TTL_SECONDS: '1' })
    const ask = clientOf(own.url)
    const finished = await create(5, {}, ask)
    await ask('PATCH', finished, { headers: patchAt(0), body: 'hello' })
    const unfinished = await create(5, {}, ask)
    const patch = await ask('PATCH', unfinished, { headers: patchAt(0), body: 'he' })
    expect(Date.parse(patch.headers.get('upload-expires') ?? '')).toBeGreaterThan(0)
    await eventually(async () => (await head(unfinished, ask)).status === 410, 'the unfinished one expires')
    expect((await head(finished, ask)).status).toBe(200)
    expect(String(await download(own.url, finished))).toBe('hello')
  })
})

describe('6. Upload-Length', () => {
  test.each(['1e20', '1e+21', '-1', '1.5', '0x10', '', ' ', '9007199254740993', '99999999999999999999'])(
    '%j is 400',
    async (length) => {
      expect((await post({ 'Upload-Length': length })).status).toBe(400)
    },
  )

  test('over MAX_UPLOAD_BYTES is 413 with Tus-Max-Size', async () => {
    const answer = await post({ 'Upload-Length': String(MAX + 1) })
    expect([answer.status, answer.headers.get('tus-max-size')]).toEqual([413, String(MAX)])
  })
})

test('7. a chunked body that overruns the length is 413, and nothing past the length counts', async () => {
  const bytes = bytesOf(1000)
  const path = await create(600)
  const patch = slowRequest(server.url, 'PATCH', path, { ...patchAt(0), 'Transfer-Encoding': 'chunked' })
  await patch.send(bytes)
  patch.end()
  expect((await patch.answer).status).toBe(413)
  expect(await offsetOf(path)).toBe(600)
  expect(await download(server.url, path)).toEqual(bytes.subarray(0, 600))
})

test('7. a body that says it overruns the length is 413 and nothing of it counts', async () => {
  const path = await create(600)
  expect((await call('PATCH', path, { headers: patchAt(0), body: bytesOf(601) })).status).toBe(413)
  expect(await offsetOf(path)).toBe(0)
})

describe('8. creation-with-upload whose body breaks leaves an upload that HEAD finds', () => {
  test('with the bytes that came', async () => {
    const bytes = bytesOf(3 * MIB)
    const newest = async () => (await call('GET', '/v1/uploads?limit=1')).json.uploads[0]
    const creation = slowRequest(server.url, 'POST', '/files', {
      ...TUS,
      'Upload-Length': String(bytes.length),
      'Content-Type': APPEND,
      'Content-Length': String(bytes.length),
    })
    await creation.send(bytes.subarray(0, 1.5 * MIB))
    await eventually(async () => (await newest()).offset === MIB, 'the first cell is committed')
    creation.cut()
    await inflight(0)
    const upload = await newest()
    expect(upload).toMatchObject({ file_size: bytes.length, offset: 1.5 * MIB, status: 'IN_PROGRESS' })
    expect(await offsetOf(`/files/${upload.upload_id}`)).toBe(1.5 * MIB)
  })

  test('and one whose body can not fit is refused before anything is created', async () => {
    const count = async () => (await call('GET', '/v1/uploads?limit=1000')).json.uploads.length
    const before = await count()
    const answer = await post({ 'Upload-Length': '3', 'Content-Type': APPEND }, 'hello')
    expect(answer.status).toBe(413)
    expect(await count()).toBe(before)
  })
})

describe('9. X-HTTP-Method-Override', () => {
  const override = (method: string, path: string, headers = {}, body?: string, ask: Client = call) =>
    ask('POST', path, {
      headers: { ...TUS, 'X-HTTP-Method-Override': method, ...headers },
      ...(body !== undefined && { body }),
    })

  test('turns a POST into PATCH, HEAD and DELETE', async () => {
    const path = await create(5)
    const patch = await override('PATCH', path, { 'Upload-Offset': '0', 'Content-Type': APPEND }, 'hel')
    expect([patch.status, patch.headers.get('upload-offset')]).toEqual([204, '3'])
    const told = await override('HEAD', path)
    expect([told.status, told.headers.get('upload-offset'), told.text]).toEqual([200, '3', ''])
    expect((await override('DELETE', path)).status).toBe(204)
    expect((await head(path)).status).toBe(404)
  })

  test('does nothing for other methods, and authorisation runs after it', async () => {
    const path = await create(5)
    for (const method of ['GET', 'PUT', 'OPTIONS', 'TRACE'])
      expect((await override(method, path)).status).toBe(404)
    expect((await override('DELETE', path, {}, undefined, clientOf(server.url, BOB))).status).toBe(403)
    expect((await override('DELETE', path, {}, undefined, clientOf(server.url, null))).status).toBe(401)
    const get = await call('GET', path, { headers: { 'X-HTTP-Method-Override': 'DELETE' } })
    expect(get.status).toBe(409)
    expect((await head(path)).status).toBe(200)
  })
})

describe('10. a wrong Tus-Resumable is 412 with Tus-Version, and OPTIONS needs no key', () => {
  test.each(['0.2.2', '1.0.1', ''])('%j', async (version) => {
    const path = await create(5)
    for (const [method, target] of [
      ['POST', '/files'],
      ['PATCH', path],
      ['HEAD', path],
      ['DELETE', path],
    ] as const) {
      const answer = await call(method, target, { headers: { ...patchAt(0), 'Tus-Resumable': version } })
      expect([method, answer.status, answer.headers.get('tus-version')]).toEqual([method, 412, '1.0.0'])
    }
    expect(await offsetOf(path)).toBe(0)
  })

  test('OPTIONS tells versions, extensions and the largest size, also of an upload', async () => {
    for (const path of ['/files', '/files/', '/files/00000000-0000-4000-8000-000000000000']) {
      const answer = await clientOf(server.url, null)('OPTIONS', path)
      expect(answer.status).toBe(204)
      expect(answer.headers.get('tus-version')).toBe('1.0.0')
      expect(answer.headers.get('tus-max-size')).toBe(String(MAX))
      expect(answer.headers.get('tus-extension')?.split(',').toSorted()).toEqual([
        'checksum',
        'checksum-trailer',
        'concatenation',
        'creation',
        'creation-defer-length',
        'creation-with-upload',
        'expiration',
        'termination',
      ])
    }
  })
})

test('11. a query is not part of the id, and an id that is no UUID is 404', async () => {
  const path = await create(5)
  expect((await call('PATCH', `${path}?token=/files/x`, { headers: patchAt(0), body: 'hello' })).status).toBe(
    204,
  )
  expect((await head(`${path}?a=b`)).status).toBe(200)
  for (const id of ['x', '..%2f', '%2e%2e%2fuploads.db', path.slice(7).toUpperCase(), `${path.slice(7)}%00`])
    expect([id, (await head(`/files/${id}`)).status]).toEqual([id, 404])
})

describe('12. Location', () => {
  const forwarded = { 'X-Forwarded-Proto': 'https,http', 'X-Forwarded-Host': 'up.example.com' }
  const locationOf = async (env: Record<string, string>, headers = {}) => {
    const own = await useServer(env)
    const answer = await post({ 'Upload-Length': '1', ...headers }, undefined, clientOf(own.url))
    expect(answer.status).toBe(201)
    return (answer.headers.get('location') ?? '').replace(own.url, 'SELF').replace(/[0-9a-f-]{36}$/, 'ID')
  }

  test.each([
    ['is of the own host', {}, {}, 'SELF/files/ID'],
    ['does not believe a proxy that nobody trusts', {}, forwarded, 'SELF/files/ID'],
    [
      'is https behind a trusted proxy',
      { TRUST_PROXY: 'true' },
      forwarded,
      'https://up.example.com/files/ID',
    ],
    [
      'is https behind a trusted proxy that speaks RFC 7239',
      { TRUST_PROXY: '1' },
      { Forwarded: 'for=1.2.3.4;host="up.example.com";proto=https' },
      'https://up.example.com/files/ID',
    ],
    [
      'comes from PUBLIC_BASE_URL',
      { PUBLIC_BASE_URL: 'https://cdn.example.com/up/', TRUST_PROXY: 'true' },
      forwarded,
      'https://cdn.example.com/up/files/ID',
    ],
    ['is relative where asked', { PUBLIC_BASE_URL: '/' }, {}, '/files/ID'],
  ])('%s', async (_what, env, headers, location) => {
    expect(await locationOf(env as Record<string, string>, headers)).toBe(location)
  })
})

describe('13. CORS', () => {
  const ORIGIN = 'https://app.example.com'
  const preflight = {
    Origin: ORIGIN,
    'Access-Control-Request-Method': 'PATCH',
    'Access-Control-Request-Headers': 'upload-offset,x-api-key',
  }

  test('lets listed origins in on every route, with what pages send and read, and nobody else', async () => {
    const own = await useServer({ CORS_ALLOWED_ORIGINS: `${ORIGIN},http://localhost:3000` })
    const ask = clientOf(own.url, null)
    for (const path of ['/files', '/files/00000000-0000-4000-8000-000000000000', '/v1/uploads/init']) {
      const answer = await ask('OPTIONS', path, { headers: preflight })
      expect(answer.status).toBe(204)
      expect(answer.headers.get('access-control-allow-origin')).toBe(ORIGIN)
      expect(answer.headers.get('vary')).toMatch(/Origin/)
      expect(answer.headers.get('access-control-allow-credentials')).toBeNull()
      expect(answer.headers.get('access-control-allow-methods')).toMatch(/PATCH/)
      const allowed = answer.headers.get('access-control-allow-headers')?.toLowerCase().split(', ')
      for (const name of [
        'x-api-key',
        'upload-checksum',
        'upload-concat',
        'upload-defer-length',
        'tus-resumable',
      ])
        expect(allowed).toContain(name)
    }
    const stranger = await ask('OPTIONS', '/files', {
      headers: { ...preflight, Origin: 'https://evil.example' },
    })
    expect(stranger.headers.get('access-control-allow-origin')).toBeNull()
    const refused = await ask('POST', '/files', { headers: { ...TUS, Origin: ORIGIN } })
    expect([refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([401, ORIGIN])
  })

  test('exposes what clients read, also on a download', async () => {
    const own = await useServer({ CORS_ALLOWED_ORIGINS: '*' })
    const ask = clientOf(own.url)
    const path = await create(5, {}, ask)
    await ask('PATCH', path, { headers: patchAt(0), body: 'hello' })
    for (const answer of [
      await ask('HEAD', path, { headers: { ...TUS, Origin: ORIGIN } }),
      await ask('GET', path, { headers: { Origin: ORIGIN } }),
    ]) {
      expect(answer.headers.get('access-control-allow-origin')).toBe('*')
      expect(answer.headers.get('access-control-allow-credentials')).toBeNull()
      const exposed = answer.headers.get('access-control-expose-headers')?.split(', ')
      for (const name of [
        'Location',
        'Upload-Offset',
        'Upload-Length',
        'Upload-Metadata',
        'Upload-Expires',
        'Tus-Resumable',
        'Tus-Version',
        'Tus-Extension',
        'Tus-Max-Size',
        'Tus-Checksum-Algorithm',
        'Upload-Concat',
        'X-Request-ID',
      ])
        expect(exposed).toContain(name)
    }
  })

  test('says nothing where no origin is listed', async () => {
    const answer = await call('OPTIONS', '/files', { headers: preflight })
    expect(answer.headers.get('access-control-allow-origin')).toBeNull()
  })
})

describe('14. metadata', () => {
  const b64 = (text: string) => Buffer.from(text).toString('base64')

  test('keys without a value and UTF-8 values come back as they were', async () => {
    const told = `filename ${b64('日本 "🎬".mp4')},is_private,filetype ${b64('video/mp4')}`
    const path = await create(0, { 'Upload-Metadata': told })
    expect((await head(path)).headers.get('upload-metadata')).toBe(told)
  })

  test.each(['filename !!!', 'filename YWJj YWJj', 'a YQ==,a YQ==', `key ${'A'.repeat(8000)}`])(
    '%.20s is 400',
    async (told) => {
      expect((await post({ 'Upload-Length': '0', 'Upload-Metadata': told })).status).toBe(400)
    },
  )

  test.each(['a"b\r\nSet-Cookie: x=1.txt', '../../etc/passwd', '日本🎬.bin', '\u202egpj.exe'])(
    'a file called %j downloads safely',
    async (name) => {
      const path = await create(0, { 'Upload-Metadata': `filename ${b64(name)}` })
      const answer = await call('GET', path)
      const disposition = answer.headers.get('content-disposition') ?? ''
      expect(answer.status).toBe(200)
      expect(answer.headers.get('set-cookie')).toBeNull()
      expect(disposition).toMatch(/^attachment; filename=/)
      expect(disposition).not.toMatch(/[^\x20-\x7e]|\.\.\//)
    },
  )
})

test('16. a healthy upload may take longer than node would let it, and a silent one ends', async () => {
  const own = await useServer({ BODY_IDLE_TIMEOUT_SECONDS: '1' })
  const ask = clientOf(own.url)
  const path = await create(10, {}, ask)
  const slow = slowRequest(own.url, 'PATCH', path, { ...patchAt(0), 'Content-Length': '10' })
  for (let i = 0; i < 8; i++) {
    await slow.send(Buffer.from([i]))
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  await expect(slow.answer).rejects.toThrow(/hang up|reset/)
  expect(Number((await head(path, ask)).headers.get('upload-offset'))).toBe(8)
})

test('17. a body that says it is JSON or a form is bytes on a chunk route, and is refused as a PATCH', async () => {
  const { json } = await call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 9 } })
  const put = await call('PUT', `/v1/uploads/${json.upload_id}/chunks/0`, {
    headers: { 'Content-Type': 'application/json' },
    body: '{"a":"b"}',
  })
  expect(put.status).toBe(202)
  const path = await create(9)
  const patch = await call('PATCH', path, {
    headers: { ...patchAt(0), 'Content-Type': 'application/x-www-form-urlencoded' },
    body: 'a=bcdefgh',
  })
  expect(patch.status).toBe(415)
  expect(await offsetOf(path)).toBe(0)
})

describe('18. a deferred length is declared once, in any later PATCH', () => {
  const defer = async (headers = {}, body?: string) =>
    pathOf((await post({ 'Upload-Defer-Length': '1', ...headers }, body)).headers)

  test.each([
    [
      'with the first bytes',
      [
        ['hel', 5],
        ['lo', null],
      ],
    ],
    [
      'with the last bytes',
      [
        ['hel', null],
        ['lo', 5],
      ],
    ],
    [
      'in an empty PATCH before any byte',
      [
        ['', 5],
        ['hello', null],
      ],
    ],
    [
      'in an empty PATCH after all bytes',
      [
        ['hello', null],
        ['', 5],
      ],
    ],
    [
      'again, with the same value',
      [
        ['hel', 5],
        ['lo', 5],
      ],
    ],
  ] as [string, [string, number | null][]][])('%s', async (_when, patches) => {
    const path = await defer()
    let offset = 0
    for (const [body, size] of patches) {
      const headers = { ...patchAt(offset), ...(size !== null && { 'Upload-Length': String(size) }) }
      const patch = await call('PATCH', path, { headers, body })
      expect(patch.status).toBe(204)
      offset += body.length
    }
    const told = await head(path)
    expect(told.headers.get('upload-length')).toBe('5')
    expect(told.headers.get('upload-defer-length')).toBeNull()
    expect(String(await download(server.url, path))).toBe('hello')
  })

  test('HEAD says that it is deferred; another value, a smaller one or a huge one is refused', async () => {
    const path = await defer({ 'Content-Type': APPEND }, 'hel')
    expect((await head(path)).headers.get('upload-defer-length')).toBe('1')
    const declare = (size: string) =>
      call('PATCH', path, { headers: { ...patchAt(3), 'Upload-Length': size }, body: 'l' })
    expect((await declare('2')).status).toBe(400)
    expect((await declare(String(MAX + 1))).status).toBe(413)
    expect((await declare('x')).status).toBe(400)
    expect(await offsetOf(path)).toBe(3)
    expect((await declare('5')).status).toBe(204)
    const other = await call('PATCH', path, { headers: { ...patchAt(4), 'Upload-Length': '6' }, body: 'o' })
    expect(other.status).toBe(400)
    expect(await offsetOf(path)).toBe(4)
  })

  test.each(['0', '2', 'true'])('Upload-Defer-Length: %s is 400', async (value) => {
    expect((await post({ 'Upload-Defer-Length': value })).status).toBe(400)
  })

  test('neither or both of the length headers is 400', async () => {
    expect((await post({})).status).toBe(400)
    expect((await post({ 'Upload-Defer-Length': '1', 'Upload-Length': '5' })).status).toBe(400)
  })
})

test('19. an empty upload completes at creation, and an empty PATCH on it still answers 204', async () => {
  const path = await create(0)
  expect((await head(path)).headers.get('upload-offset')).toBe('0')
  expect((await call('GET', path.replace('/files/', '/v1/uploads/'))).json.status).toBe('COMPLETED')
  const patch = await call('PATCH', path, { headers: patchAt(0) })
  expect([patch.status, patch.headers.get('upload-offset')]).toEqual([204, '0'])
  expect((await download(server.url, path)).length).toBe(0)
})

test('19b. an empty Upload-Metadata is no metadata, not an error', async () => {
  const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
  socket.write(
    `POST /files HTTP/1.1\r\nHost: a\r\nX-API-Key: ${ALICE}\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 1\r\nUpload-Metadata: \r\n\r\n`,
  )
  const answer = await new Promise<string>((resolve) => socket.once('data', (data) => resolve(String(data))))
  socket.destroy()
  expect(answer).toMatch(/^HTTP\/1.1 201 /)
})

test('a PATCH at a stale offset answers 409 and leaves the offset alone', async () => {
  const path = await create(10)
  await call('PATCH', path, { headers: patchAt(0), body: 'hello' })
  for (const offset of [0, 4, 6, 10])
    expect((await call('PATCH', path, { headers: patchAt(offset), body: 'x' })).status).toBe(409)
  expect(await offsetOf(path)).toBe(5)
})

test.each(['', 'x', '-1', '1.5', '1e3', '9007199254740993'])('Upload-Offset %j is 400', async (offset) => {
  const path = await create(10)
  const patch = await call('PATCH', path, { headers: { ...patchAt(0), 'Upload-Offset': offset }, body: 'x' })
  expect(patch.status).toBe(400)
})

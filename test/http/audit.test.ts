import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { rename } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { clientOf, download, patchAt, TUS } from '../support/client.ts'
import { ALICE, BOB, useServer, type TestServer } from '../support/server.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'
import { holderOf } from '../support/tokens.ts'

const MIB = 1024 * 1024

const auditOf = ({ lines }: TestServer) => lines.filter((line) => line['audit'] === true)

/** Waits for so many lines of the audit log, and sees that the next request finds no more. */
async function audited(server: TestServer, count: number): Promise<Record<string, unknown>[]> {
  await eventually(() => auditOf(server).length >= count, `${count} lines are audited`)
  await clientOf(server.url)('GET', '/health')
  expect(auditOf(server)).toHaveLength(count)
  return auditOf(server)
}

const start = (env: Record<string, string> = {}) => useServer({ AUDIT_LOG: 'on', ...env })

/** A tus upload of "hello", named a.txt. @returns its path */
async function uploadHello(url: string, key = ALICE): Promise<string> {
  const { headers } = await clientOf(url, key)('POST', '/files', {
    headers: {
      ...TUS,
      'Upload-Length': '5',
      'Upload-Metadata': `filename ${btoa('a.txt')}`,
      'Content-Type': 'application/offset+octet-stream',
      'X-Request-ID': 'the-creation',
    },
    body: 'hello',
  })
  return new URL(headers.get('location') ?? '').pathname
}

const idOf = (file: string) => file.split('/').at(-1)

test('what becomes of an upload is a line each: who, what, from where, by which request', async () => {
  const server = await start()
  const call = clientOf(server.url)
  const file = await uploadHello(server.url)
  await call('GET', file, { headers: { 'X-Request-ID': 'the-download' } })
  // An answer may be read to its end before its request is over.
  await audited(server, 3)
  await call('DELETE', file, { headers: { ...TUS, 'X-Request-ID': 'the-deletion' } })

  const what = { owner: 'alice', upload_id: idOf(file), file_name: 'a.txt', size: 5 }
  const who = { audit: true, level: 30, result: 'ok', user: 'alice', client: '127.0.0.1', msg: 'audit' }
  const time = expect.any(String)
  expect(await audited(server, 4)).toEqual([
    { time, ...who, ...what, action: 'create', request_id: 'the-creation' },
    { time, ...who, ...what, action: 'complete', request_id: 'the-creation' },
    { time, ...who, ...what, action: 'download', bytes: 5, request_id: 'the-download' },
    { time, ...who, ...what, action: 'delete', request_id: 'the-deletion' },
  ])
})

test('an upload of chunks is audited where it is created and where it completes, not for each chunk', async () => {
  const server = await start()
  const call = clientOf(server.url)
  const { json } = await call('POST', '/v1/uploads/init', {
    body: { file_name: 'b', file_size: 6, chunk_size: 3 },
  })
  const upload = `/v1/uploads/${json.upload_id}`
  for (const index of [0, 1]) await call('PUT', `${upload}/chunks/${index}`, { body: 'abc' })
  await call('POST', `${upload}/complete`, { headers: { 'X-Request-ID': 'the-completion' } })
  // Done already: nothing happens.
  await call('POST', `${upload}/complete`)
  expect(await audited(server, 2)).toMatchObject([
    { action: 'create', file_name: 'b', size: 6 },
    { action: 'complete', file_name: 'b', upload_id: json.upload_id, request_id: 'the-completion' },
  ])
})

test('a request that comes again under its key creates one upload, and one line', async () => {
  const server = await start()
  const again = {
    headers: { 'Idempotency-Key': randomUUID() },
    body: { file_name: 'b', file_size: 6 },
  }
  await clientOf(server.url)('POST', '/v1/uploads/init', again)
  await clientOf(server.url)('POST', '/v1/uploads/init', again)
  expect(await audited(server, 1)).toMatchObject([{ action: 'create' }])
})

test('a completion names all requests that wrote at that moment, since any may have brought it about', async () => {
  const server = await start()
  const call = clientOf(server.url)
  const { headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '7000000' } })
  const id = idOf(headers.get('location') ?? '')
  const put = (index: number, bytes: number, requestId: string) =>
    call('PUT', `/v1/uploads/${id}/chunks/${index}`, {
      headers: { 'X-Request-ID': requestId },
      body: 'x'.repeat(bytes),
    })
  await put(0, 5_242_880, 'the-first')
  const slow = slowRequest(server.url, 'PUT', `/v1/uploads/${id}/chunks/0`, {
    'X-Request-ID': 'the-first-again',
    'Content-Length': '5242880',
  })
  await slow.send(Buffer.from('xxx'))
  await eventually(
    async () => (await call('GET', '/metrics')).text.includes('\ninflight_chunks 1\n'),
    'a body is open',
  )
  await put(1, 7_000_000 - 5_242_880, 'the-last')
  expect((await audited(server, 2)).at(-1)).toMatchObject({
    action: 'complete',
    user: 'alice',
    request_id: 'the-first-again',
    also_at_work: ['the-last'],
  })
  slow.cut()
})

test('a download tells the range that was sent, and its bytes', async () => {
  const server = await start()
  const call = clientOf(server.url)
  const file = await uploadHello(server.url)
  await call('GET', file, { headers: { Range: 'bytes=1-2,-1' } })
  await call('GET', file, { headers: { Range: 'bytes=3-' } })
  await call('HEAD', file, { headers: TUS })
  const { headers } = await call('GET', file, { headers: { Range: 'bytes=9-' } })
  await call('GET', file, { headers: { 'If-None-Match': `"${idOf(file)}"` } })
  expect(headers.get('content-range')).toBe('bytes */5')
  const lines = await audited(server, 5)
  expect(lines.slice(2)).toMatchObject([
    { action: 'download', result: 'ok', range: '1-2,4-4', bytes: 3 },
    { action: 'download', result: 'ok', range: '3-4', bytes: 2 },
    { action: 'download', result: 'refused', bytes: 0, status: 416, error_code: 'range_not_satisfiable' },
  ])
})

test('a download that its client breaks off tells what was sent until then', async () => {
  const server = await start()
  const size = 64 * MIB
  const { headers } = await clientOf(server.url)('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': String(size), 'Content-Type': 'application/offset+octet-stream' },
    body: Buffer.alloc(size) as unknown as object,
  })
  const cut = slowRequest(server.url, 'GET', new URL(headers.get('location') ?? '').pathname)
  await new Promise<void>((resolve) => cut.req.on('response', (res) => res.once('data', () => resolve())))
  cut.cut()
  const line = (await audited(server, 3)).at(-1)
  expect(line).toMatchObject({ action: 'download', result: 'broken_off', status: 499, client: '127.0.0.1' })
  expect(server.lines.filter(({ status }) => status === 499)).toHaveLength(2)
  expect(line?.['bytes']).toBeGreaterThan(0)
  expect(line?.['bytes']).toBeLessThan(size)
})

test('a link is audited when it is made, followed and refused, and never shown', async () => {
  const server = await start()
  const file = await uploadHello(server.url)
  const links = `/v1/uploads/${idOf(file)}/links`
  const { json } = await clientOf(server.url)('POST', links, { headers: { 'X-Request-ID': 'the-link' } })
  await clientOf(server.url, BOB)('POST', links)
  const { pathname } = new URL(json.url)
  const stranger = clientOf(server.url, null)
  await stranger('GET', pathname)
  await stranger('HEAD', pathname)
  await stranger('GET', `${pathname}x`)
  const [, , ...lines] = await audited(server, 6)
  expect(lines).toMatchObject([
    { action: 'create_link', result: 'ok', user: 'alice', upload_id: idOf(file), request_id: 'the-link' },
    { action: 'create_link', result: 'refused', user: 'bob', upload_id: idOf(file), status: 403 },
    { action: 'download', result: 'ok', by: 'link', owner: 'alice', file_name: 'a.txt', bytes: 5 },
    { action: 'download', result: 'refused', by: 'link', status: 404 },
  ])
  for (const line of lines.slice(2)) expect(line).not.toHaveProperty('user')
  expect(JSON.stringify(server.lines)).not.toContain(pathname.split('.').at(-1))
})

test('what the holder of a token brings about is told as that, and the token is never shown', async () => {
  const server = await start()
  const { json: upload } = await clientOf(server.url)('POST', '/v1/uploads/init', {
    body: { file_name: 'b', file_size: 3 },
  })
  const path = `/v1/uploads/${upload.upload_id}`
  const { token } = (await clientOf(server.url)('POST', `${path}/tokens`)).json
  const holder = holderOf(server.url, token)
  await holder('PUT', `${path}/chunks/0`, { body: 'abc' })
  await holder('POST', `${path}/complete`)
  const [, ...lines] = await audited(server, 3)
  expect(lines).toMatchObject([
    { action: 'create_token', result: 'ok', user: 'alice', upload_id: upload.upload_id },
    { action: 'complete', result: 'ok', user: 'alice', by: 'upload_token' },
  ])
  expect(lines[0]).not.toHaveProperty('by')
  expect(JSON.stringify(server.lines)).not.toContain(token)
})

test('what is refused is audited with its error: a stranger, another user, an early completion', async () => {
  const server = await start()
  const file = await uploadHello(server.url)
  const { json } = await clientOf(server.url)('POST', '/v1/uploads/init', {
    body: { file_name: 'b', file_size: 6 },
  })
  const native = `/v1/uploads/${json.upload_id}`
  await clientOf(server.url, BOB)('GET', file)
  await clientOf(server.url, BOB)('DELETE', native)
  await clientOf(server.url, 'not-a-key')('GET', file)
  await clientOf(server.url)('POST', `${native}/complete`)
  const [, , , ...refused] = await audited(server, 7)
  expect(refused).toMatchObject([
    { action: 'download', result: 'refused', user: 'bob', upload_id: idOf(file), status: 403 },
    { action: 'delete', result: 'refused', user: 'bob', upload_id: json.upload_id, status: 403 },
    { action: 'download', result: 'refused', status: 401, error_code: 'missing_api_key' },
    { action: 'complete', result: 'refused', user: 'alice', status: 409, error_code: 'conflict' },
  ])
  expect(refused[2]).not.toHaveProperty('user')
})

test('a download that the storage fails is a failure', async () => {
  const server = await start()
  const file = await uploadHello(server.url)
  const folder = path.join(server.root, 'files', String(idOf(file)).slice(0, 3))
  await rename(folder, `${folder}-away`)
  await clientOf(server.url)('GET', file)
  expect((await audited(server, 3)).at(-1)).toMatchObject({
    action: 'download',
    result: 'failed',
    bytes: 0,
    status: 500,
    error_code: 'internal_error',
  })
})

test('what the server does by itself has an owner and no user', async () => {
  const server = await start({ UPLOAD_TTL_SECONDS: '1', REAP_INTERVAL_SECONDS: '1' })
  const { json } = await clientOf(server.url)('POST', '/v1/uploads/init', {
    body: { file_name: 'b', file_size: 6 },
  })
  await eventually(() => auditOf(server).some(({ action }) => action === 'expire'), 'the upload expires')
  const line = auditOf(server).find(({ action }) => action === 'expire')
  expect(line).toMatchObject({ result: 'ok', owner: 'alice', upload_id: json.upload_id, file_name: 'b' })
  for (const field of ['user', 'client', 'request_id']) expect(line).not.toHaveProperty(field)
})

test('an upload whose bytes are gone is told as failed, with the reason', async () => {
  const server = await start()
  const call = clientOf(server.url)
  const { headers } = await call('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': '10', 'Content-Type': 'application/offset+octet-stream' },
    body: 'hello',
  })
  const file = new URL(headers.get('location') ?? '').pathname
  const folder = path.join(server.root, 'files', String(idOf(file)).slice(0, 3))
  await rename(folder, `${folder}-away`)
  await call('PATCH', file, { headers: patchAt(5), body: 'world' })
  expect((await audited(server, 2)).at(-1)).toMatchObject({
    action: 'fail',
    upload_id: idOf(file),
    user: 'alice',
    reason: expect.any(String),
  })
})

test('the client is whom a trusted proxy names, with its whole address', async () => {
  const server = await start({ TRUST_PROXY: 'true' })
  await clientOf(server.url)('POST', '/v1/uploads/init', {
    headers: { 'X-Forwarded-For': '203.0.113.7, 2001:db8:1:2:3:4:5:6' },
    body: { file_name: 'b', file_size: 6 },
  })
  expect(await audited(server, 1)).toMatchObject([{ client: '2001:db8:1:2:3:4:5:6' }])
})

test('no key and no token gets into the audit log, and LOG_LEVEL does not silence it', async () => {
  const server = await start({ LOG_LEVEL: 'silent' })
  const file = await uploadHello(server.url)
  await download(server.url, file)
  await clientOf(server.url, null)('GET', file, { headers: { Authorization: 'Bearer a-secret-token' } })
  await audited(server, 4)
  expect(server.lines).toEqual(auditOf(server))
  expect(JSON.stringify(server.lines)).not.toMatch(/alice-key|secret-token/)
})

test('without AUDIT_LOG nothing is audited, and no file name is logged', async () => {
  const server = await useServer()
  const file = await uploadHello(server.url)
  await download(server.url, file)
  await eventually(() => server.lines.some((line) => line['method'] === 'GET'), 'the requests are told')
  expect(auditOf(server)).toEqual([])
  expect(JSON.stringify(server.lines)).not.toContain('a.txt')
})

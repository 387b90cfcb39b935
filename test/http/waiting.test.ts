import { expect, test } from 'vitest'
import { bytesOf, MIB } from '../support/bytes.ts'
import { finishChunk, initiate, openChunk } from '../support/chunks.ts'
import { clientOf, download, patchAt, TUS } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { untilInflight, untilQueued } from '../support/load.ts'
import { lines, rawConnection } from '../support/raw.ts'
import { ALICE, startTestServer, useServer } from '../support/server.ts'
import { slowRequest } from '../support/slow-request.ts'

/** A server with one place for a body, which a chunk has taken. */
async function fullServer(env: Record<string, string> = {}) {
  const { url } = await useServer({ MAX_GLOBAL_INFLIGHT_CHUNKS: '1', ...env })
  const call = clientOf(url)
  const open = await openChunk(url, await initiate(call), 0)
  await untilInflight(call, 1)
  return { url, call, open }
}

const APPEND = 'application/offset+octet-stream'

test('a PATCH and a creation with a body wait for a place, and then are taken as if nothing had been', async () => {
  const { url, call, open } = await fullServer()
  const bytes = bytesOf(3 * MIB)
  const id = await initiate(call)
  const patch = slowRequest(url, 'PATCH', `/files/${id}`, {
    ...patchAt(0),
    'Content-Length': String(bytes.length),
  })
  patch.req.end(bytes)
  const creation = slowRequest(url, 'POST', '/files', {
    ...TUS,
    'Content-Type': APPEND,
    'Upload-Length': '5',
    'Content-Length': '5',
  })
  creation.req.end('hello')
  await untilQueued(call, 2)
  // Nothing of them is read; what takes no body is served meanwhile.
  expect((await call('HEAD', `/files/${id}`, { headers: TUS })).headers.get('upload-offset')).toBe('0')

  await finishChunk(open)
  expect((await patch.answer).status).toBe(204)
  const created = await creation.answer
  expect([created.status, created.headers['upload-offset']]).toEqual([201, '5'])
  expect(String(await download(url, new URL(created.headers.location ?? '').pathname))).toBe('hello')
  const head = await call('HEAD', `/files/${id}`, { headers: TUS })
  expect(head.headers.get('upload-offset')).toBe(String(bytes.length))
})

test('a client that waits for 100 Continue is told to go on once it is admitted, and not before', async () => {
  const { url, call, open } = await fullServer()
  const id = await initiate(call)
  const connection = rawConnection(url)
  connection.send(
    lines(
      `PATCH /files/${id} HTTP/1.1`,
      'Host: a',
      `X-API-Key: ${ALICE}`,
      'Tus-Resumable: 1.0.0',
      'Upload-Offset: 0',
      `Content-Type: ${APPEND}`,
      'Content-Length: 5',
      'Expect: 100-continue',
    ),
  )
  await untilQueued(call, 1)
  let told = ''
  connection.socket.on('data', (text) => (told += String(text)))
  expect((await call('GET', '/health')).status).toBe(200)
  expect(told).toBe('')
  await finishChunk(open)
  await connection.sees(/^HTTP\/1\.1 100 Continue/)
  connection.send('hello')
  await connection.sees(/HTTP\/1\.1 204 /)
})

test('a body that waits too long is 503 with the reason, and the connection is of use after it', async () => {
  const { url, call } = await fullServer({ ADMISSION_WAIT_SECONDS: '1' })
  const id = await initiate(call)
  const connection = rawConnection(url)
  connection.send(
    lines(
      `PATCH /files/${id} HTTP/1.1`,
      'Host: a',
      `X-API-Key: ${ALICE}`,
      'Tus-Resumable: 1.0.0',
      'Upload-Offset: 0',
      `Content-Type: ${APPEND}`,
      'Content-Length: 5',
    ) + 'hello',
  )
  const told = await connection.sees(/^HTTP\/1\.1 503 [^]*\r\n\r\n/)
  expect(told).toMatch(/^x-ratelimit-reason: global_inflight_limit/im)
  expect(told).toMatch(/^retry-after: [1-9]/im)
  await untilQueued(call, 0)
  connection.send(lines('GET /version HTTP/1.1', 'Host: a'))
  await connection.sees(/"version"/)
})

test('clients that leave while they wait hold no place, whether their bodies are small or large', async () => {
  const { url, call, open } = await fullServer()
  const waiting = await Promise.all(
    [5, 3 * MIB].map(async (length) => {
      const patch = slowRequest(url, 'PATCH', `/files/${await initiate(call)}`, {
        ...patchAt(0),
        'Content-Length': String(length),
      })
      await patch.send(bytesOf(length))
      return patch
    }),
  )
  await untilQueued(call, 2)
  for (const patch of waiting) patch.cut()
  await finishChunk(open)
  await untilQueued(call, 0)
  await untilInflight(call, 0)
  const id = await initiate(call)
  const last = await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: 'hello' })
  expect(last.status).toBe(204)
})

test('requests behind one that waits, sent with it on the same connection or after its answer, are served', async () => {
  const { url, call, open } = await fullServer()
  const [first, second, third] = [await initiate(call), await initiate(call), await initiate(call)]
  const patch = (id: string) =>
    `${lines(
      `PATCH /files/${id} HTTP/1.1`,
      'Host: a',
      `X-API-Key: ${ALICE}`,
      'Tus-Resumable: 1.0.0',
      'Upload-Offset: 0',
      `Content-Type: ${APPEND}`,
      'Content-Length: 5',
    )}hello`
  const connection = rawConnection(url)
  const version = lines('GET /version HTTP/1.1', 'Host: a')
  connection.send(patch(first) + patch(second) + version)
  const alone = rawConnection(url)
  alone.send(patch(third))
  await untilQueued(call, 3)
  await finishChunk(open)
  const told = await connection.sees(/"version"/)
  expect(told.match(/HTTP\/1\.1 204 /g)).toHaveLength(2)
  await alone.sees(/HTTP\/1\.1 204 /)
  alone.send(version)
  await alone.sees(/"version"/)
})

test('a hundred large bodies that wait stay with their clients', async () => {
  const { url, call } = await fullServer()
  const bytes = bytesOf(2 * MIB)
  const ids = await Promise.all(Array.from({ length: 100 }, () => initiate(call)))
  const before = process.memoryUsage().arrayBuffers
  const patches = ids.map((id) => {
    const patch = slowRequest(url, 'PATCH', `/files/${id}`, {
      ...patchAt(0),
      'Content-Length': String(bytes.length),
    })
    patch.req.end(bytes)
    return patch
  })
  await untilQueued(call, patches.length)
  for (let i = 0; i < 20; i++) await call('GET', '/health')
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * MIB)
  for (const patch of patches) patch.cut()
})

test('bodies that wait when the server shuts down are refused at once, and those that are open may end', async () => {
  const server = await startTestServer({ MAX_GLOBAL_INFLIGHT_CHUNKS: '1', SHUTDOWN_GRACE_SECONDS: '30' })
  const call = clientOf(server.url)
  const id = await initiate(call)
  const open = await openChunk(server.url, await initiate(call), 0)
  await untilInflight(call, 1)
  const patch = slowRequest(server.url, 'PATCH', `/files/${id}`, { ...patchAt(0), 'Content-Length': '5' })
  patch.req.end('hello')
  await untilQueued(call, 1)
  const closing = server.close()
  const refused = await patch.answer
  expect([refused.status, refused.headers['retry-after']]).toEqual([503, '1'])
  expect((await (await finishChunk(open)).answer).status).toBe(202)
  await closing
})

test('what a body had brought counts when its client leaves a server that is shutting down', async () => {
  const root = await useFolder()
  const server = await startTestServer({}, root)
  const id = await initiate(clientOf(server.url))
  const patch = slowRequest(server.url, 'PATCH', `/files/${id}`, { ...patchAt(0), 'Content-Length': '1000' })
  await patch.send(Buffer.alloc(10))
  await untilInflight(clientOf(server.url), 1)
  const closing = server.close()
  patch.cut()
  await closing

  const again = await startTestServer({}, root)
  const head = await clientOf(again.url)('HEAD', `/files/${id}`, { headers: TUS })
  expect(head.headers.get('upload-offset')).toBe('10')
  await again.close()
})

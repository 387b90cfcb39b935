import { expect, test } from 'vitest'
import { bytesOf, MIB } from '../support/bytes.ts'
import { clientOf, patchAt, TUS, type Client } from '../support/client.ts'
import { useServer } from '../support/server.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const CHUNK = 4 * MIB

const initiate = async (call: Client, chunks = 8): Promise<string> =>
  (
    await call('POST', '/v1/uploads/init', {
      body: { file_name: 'a', file_size: chunks * CHUNK, chunk_size: CHUNK },
    })
  ).json.upload_id

/** A chunk whose body has begun and stays open. */
const openChunk = async (url: string, id: string, index: number) => {
  const put = slowRequest(url, 'PUT', `/v1/uploads/${id}/chunks/${index}`, {
    'Content-Length': String(CHUNK),
  })
  await put.send(bytesOf(1000))
  return put
}

const inflight = (call: Client, count: number) =>
  eventually(
    async () => (await call('GET', '/metrics')).text.includes(`\ninflight_chunks ${count}\n`),
    `${count} bodies are in flight`,
  )

test('bodies over MAX_GLOBAL_INFLIGHT_CHUNKS are 429 natively and 503 by tus, and the others finish', async () => {
  const { url } = await useServer({ MAX_GLOBAL_INFLIGHT_CHUNKS: '2' })
  const call = clientOf(url)
  const [first, second] = [await initiate(call), await initiate(call)]
  const open = [await openChunk(url, first, 0), await openChunk(url, second, 0)]
  await inflight(call, 2)

  const native = await call('PUT', `/v1/uploads/${first}/chunks/1`, { body: Buffer.alloc(CHUNK) })
  expect(native.status).toBe(429)
  expect(native.json.error_code).toBe('throttled')
  expect(native.headers.get('x-ratelimit-reason')).toBe('global_inflight_limit')
  expect(Number(native.headers.get('retry-after'))).toBeGreaterThan(0)
  const tus = await call('PATCH', `/files/${first}`, { headers: patchAt(0), body: Buffer.alloc(10) })
  expect(tus.status).toBe(503)
  expect(Number(tus.headers.get('retry-after'))).toBeGreaterThan(0)
  const creation = await call('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': '5', 'Content-Type': 'application/offset+octet-stream' },
    body: 'hello',
  })
  expect(creation.status).toBe(503)
  expect((await call('HEAD', `/files/${first}`, { headers: TUS })).status).toBe(200)
  expect((await call('GET', '/metrics')).text).toContain(
    'throttled_requests_total{reason="global_inflight_limit"} 3',
  )

  for (const put of open) {
    await put.send(bytesOf(CHUNK).subarray(1000))
    put.end()
    expect((await put.answer).status).toBe(202)
  }
  await inflight(call, 0)
})

test('bodies of one upload over MAX_INFLIGHT_CHUNKS_PER_UPLOAD are 429; other uploads go on', async () => {
  const { url } = await useServer({ MAX_INFLIGHT_CHUNKS_PER_UPLOAD: '1' })
  const call = clientOf(url)
  const [busy, other] = [await initiate(call), await initiate(call)]
  const put = await openChunk(url, busy, 0)
  await inflight(call, 1)
  const refused = await call('PUT', `/v1/uploads/${busy}/chunks/1`, { body: Buffer.alloc(CHUNK) })
  expect([refused.status, refused.headers.get('x-ratelimit-reason')]).toEqual([429, 'upload_inflight_limit'])
  expect((await call('PUT', `/v1/uploads/${other}/chunks/1`, { body: Buffer.alloc(CHUNK) })).status).toBe(202)
  put.cut()
  await inflight(call, 0)
  expect((await call('PUT', `/v1/uploads/${busy}/chunks/1`, { body: Buffer.alloc(CHUNK) })).status).toBe(202)
})

test('more trickling clients than workers keep a fast one from nothing', async () => {
  const { url } = await useServer({ WORKER_COUNT: '2' })
  const call = clientOf(url)
  const slow = await Promise.all(
    Array.from({ length: 5 }, async () => openChunk(url, await initiate(call), 0)),
  )
  await inflight(call, 5)
  const id = await initiate(call)
  expect((await call('PUT', `/v1/uploads/${id}/chunks/0`, { body: Buffer.alloc(CHUNK) })).status).toBe(202)
  for (const put of slow) put.cut()
})

test('a refused client that waits for 100 Continue never sends its body', async () => {
  const { url } = await useServer({ MAX_GLOBAL_INFLIGHT_CHUNKS: '1' })
  const call = clientOf(url)
  const id = await initiate(call)
  const open = await openChunk(url, id, 0)
  await inflight(call, 1)
  const put = slowRequest(url, 'PUT', `/v1/uploads/${id}/chunks/1`, {
    'Content-Length': String(CHUNK),
    Expect: '100-continue',
  })
  let told = false
  put.req.on('continue', () => (told = true))
  expect((await put.answer).status).toBe(429)
  expect(told).toBe(false)
  put.cut()
  open.cut()
})

test('an admitted client that waits for 100 Continue is told to go on', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const id = await initiate(call)
  const put = slowRequest(url, 'PUT', `/v1/uploads/${id}/chunks/1`, {
    'Content-Length': String(CHUNK),
    Expect: '100-continue',
  })
  await new Promise<void>((resolve) => put.req.on('continue', () => resolve()))
  await put.send(Buffer.alloc(CHUNK))
  put.end()
  expect((await put.answer).status).toBe(202)
})

test('a large body that is refused early still sees its answer, on a connection that then closes', async () => {
  const { url } = await useServer()
  for (let round = 0; round < 10; round++) {
    const put = slowRequest(url, 'PUT', '/v1/uploads/00000000-0000-4000-8000-000000000000/chunks/0', {
      'Content-Length': String(64 * MIB),
    })
    put.req.end(Buffer.alloc(64 * MIB))
    const answer = await put.answer
    expect(answer.status).toBe(404)
    expect(answer.headers.connection).toBe('close')
  }
})

import { expect, test } from 'vitest'
import { STREAM_LIMITS } from '../../src/http/event-stream.ts'
import { clientOf, patchAt, type Client } from '../support/client.ts'
import { follow } from '../support/events.ts'
import { BOB, startTestServer, useServer } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'
import { createByTus, createNatively } from '../support/uploading.ts'

const putChunk = (call: Client, id: string, index: number, body: string) =>
  call('PUT', `/v1/uploads/${id}/chunks/${index}`, { body })
const complete = (call: Client, id: string) => call('POST', `/v1/uploads/${id}/complete`)

test('an upload is told as it fills, chunk by chunk out of order, until it is complete', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const id = await createNatively(call, 9, 2)
  const events = await follow(url, `/v1/uploads/${id}/events`)
  expect([events.status, events.headers.get('content-type')]).toEqual([
    200,
    'text/event-stream; charset=utf-8',
  ])
  expect(await events.next()).toMatchObject({
    event: 'upload',
    data: { upload_id: id, status: 'INITIATED', received_bytes: 0, received_chunks: [], total_chunks: 5 },
  })

  await putChunk(call, id, 4, 'i')
  await events.until('upload', ({ received_bytes: bytes }) => bytes === 1)
  await putChunk(call, id, 0, 'ab')
  await putChunk(call, id, 1, 'cd')
  const gap = await events.until('upload', ({ received_bytes: bytes }) => bytes === 5)
  expect(gap.received_chunks).toEqual([
    [0, 1],
    [4, 4],
  ])
  expect(gap.bytes_per_second).toBeGreaterThan(0)

  await putChunk(call, id, 2, 'ef')
  await putChunk(call, id, 3, 'gh')
  await complete(call, id)
  const last = await events.until('upload', ({ status }) => status === 'COMPLETED')
  expect(last).toMatchObject({ received_bytes: 9, received_chunks: [[0, 4]], bytes_per_second: 0 })
  expect(await events.next()).toEqual({ event: 'end', data: { upload_id: id } })
  expect(await events.next()).toBeNull()
})

test('the bytes of a PATCH that ends within a chunk are told', async () => {
  const { url } = await useServer({ CHUNK_SIZE_BYTES: '4' })
  const call = clientOf(url)
  const id = await createByTus(call, 10)
  const events = await follow(url, `/v1/uploads/${id}/events`)
  await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: 'abcdef' })
  const told = await events.until('upload', ({ received_bytes: bytes }) => bytes > 0)
  expect(told).toMatchObject({ received_bytes: 6, received_chunks: [[0, 0]], offset: 6 })
})

test('an upload that is deleted is told as removed, and its stream ends', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const id = await createByTus(call, 10)
  const events = await follow(url, `/v1/uploads/${id}/events`)
  await events.until('upload')
  await call('DELETE', `/v1/uploads/${id}`)
  expect(await events.next()).toEqual({ event: 'removed', data: { upload_id: id } })
  expect(await events.next()).toBeNull()
})

test('a finished upload is told once, and its stream ends; one that is gone has none', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const id = await createNatively(call, 2, 2)
  await putChunk(call, id, 0, 'ab')
  await complete(call, id)
  const events = await follow(url, `/v1/uploads/${id}/events`)
  expect(await events.next()).toMatchObject({ event: 'upload', data: { status: 'COMPLETED' } })
  expect(await events.next()).toMatchObject({ event: 'end' })
  expect(await events.next()).toBeNull()
  await call('DELETE', `/v1/uploads/${id}`)
  expect((await follow(url, `/v1/uploads/${id}/events`)).status).toBe(404)
})

test('the list tells what is there, then that it is ready, and then what is created, changed and deleted', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const first = await createNatively(call, 4, 2)
  await createNatively(clientOf(url, BOB), 4, 2)
  const events = await follow(url, '/v1/events')
  const told: { event: string; data: any }[] = []
  while (told.at(-1)?.event !== 'ready') told.push((await events.next()) ?? { event: 'over', data: null })
  expect(told.map(({ event, data }) => [event, data.upload_id])).toEqual([
    ['load', undefined],
    ['upload', first],
    ['ready', undefined],
  ])
  expect(told.at(-1)?.data).toEqual({ has_more: false })

  const second = await createByTus(call, 10)
  await events.until('upload', ({ upload_id: id }) => id === second)
  await putChunk(call, first, 1, 'ab')
  const changed = await events.until('upload', ({ upload_id: id }) => id === first)
  expect(changed).toMatchObject({ received_chunks: [[1, 1]], uploaded_chunks: 1 })
  await call('DELETE', `/v1/uploads/${second}`)
  expect(await events.until('removed')).toEqual({ upload_id: second })
})

test('a full page of the list says that there is more, and what newer ones push off its end is not told as removed', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const ids: string[] = []
  for (let made = 0; made < 51; made++) ids.push(await createByTus(call, 10))
  const events = await follow(url, '/v1/events')
  expect(await events.until('ready')).toEqual({ has_more: true })
  const newest = await createByTus(call, 10)
  const gone = ids[20] ?? ''
  await events.until('upload', ({ upload_id: id }) => id === newest)
  await call('DELETE', `/v1/uploads/${gone}`)
  expect(await events.until('removed')).toEqual({ upload_id: gone })
})

test('a user has so many streams and no more, and others have theirs', async () => {
  const { url } = await useServer()
  const own = []
  for (let opened = 0; opened < STREAM_LIMITS.perUser; opened++) own.push(await follow(url, '/v1/events'))
  expect(own.map(({ status }) => status)).toEqual(own.map(() => 200))
  const call = clientOf(url)
  const refused = await call('GET', '/v1/events')
  expect([
    refused.status,
    refused.headers.get('x-ratelimit-reason'),
    refused.headers.get('retry-after'),
  ]).toEqual([429, 'event_stream_limit', '5'])
  expect((await follow(url, '/v1/events', BOB)).status).toBe(200)

  own[0]?.leave()
  await eventually(async () => (await call('GET', '/v1/events')).status === 200, 'a place comes free')
  const { text } = await call('GET', '/metrics')
  expect(text).toMatch(/throttled_requests_total\{reason="event_stream_limit"\} [1-9]/)
})

test('a shutdown ends streams at once, whatever grace it has', async () => {
  const server = await startTestServer({ SHUTDOWN_GRACE_SECONDS: '3600' })
  const id = await createByTus(clientOf(server.url), 10)
  const streams = [
    await follow(server.url, '/v1/events'),
    await follow(server.url, `/v1/uploads/${id}/events`),
  ]
  await Promise.all(streams.map(({ until }) => until('upload')))
  await server.close()
  for (const { next } of streams) {
    let last = await next()
    while (last !== null) last = await next()
  }
})

test('the limits and the load are told to whoever has a key', async () => {
  const { url } = await useServer({
    CHUNK_SIZE_BYTES: '4096',
    MAX_UPLOAD_BYTES: '10000',
    MAX_BYTES_PER_USER: '50000',
    UPLOAD_TTL_SECONDS: '600',
    WORKER_COUNT: '3',
  })
  const { status, headers, json } = await clientOf(url)('GET', '/v1/limits')
  expect([status, headers.get('cache-control')]).toEqual([200, 'no-store'])
  expect(json).toEqual({
    user_id: 'alice',
    chunk_size_bytes: 4096,
    max_upload_bytes: 10_000,
    max_bytes_per_user: 50_000,
    upload_ttl_seconds: 600,
    max_inflight_chunks_per_upload: 8,
    max_global_inflight_chunks: 128,
    task_queue_maxsize: 512,
    load: { inflight_chunks: 0, task_queue_depth: 0, worker_busy_count: 0, worker_count: 3 },
  })
})

import { describe, expect, test } from 'vitest'
import { CHUNK, finishChunk, initiate, openChunk } from '../support/chunks.ts'
import { clientOf, patchAt, TUS, type Answer, type Client } from '../support/client.ts'
import { untilInflight, untilQueued } from '../support/load.ts'
import { ALICE, BOB, useServer } from '../support/server.ts'
import { slowRequest, type SlowRequest } from '../support/slow-request.ts'

type Told = Awaited<SlowRequest['answer']>

/** The first of them to be answered, while the others stay open. */
const firstAnswer = (puts: SlowRequest[]): Promise<{ put: SlowRequest; answer: Told }> =>
  Promise.race(puts.map(async (put) => ({ put, answer: await put.answer })))

const refusedFor = (answer: Answer | Told, reason: string): void => {
  const headers = Object.fromEntries(
    answer.headers instanceof Headers ? answer.headers : Object.entries(answer.headers),
  )
  expect(headers).toMatchObject({
    'x-ratelimit-reason': reason,
    'retry-after': expect.stringMatching(/^\d+$/),
  })
  expect(Number(headers['retry-after'])).toBeGreaterThan(0)
}

const countOf = async (call: Client, reason: string): Promise<number> =>
  Number(
    new RegExp(`^throttled_requests_total{reason="${reason}"} (\\d+)$`, 'm').exec(
      (await call('GET', '/metrics')).text,
    )?.[1] ?? 0,
  )

describe.each([
  ['MAX_GLOBAL_INFLIGHT_CHUNKS', 'global_inflight_limit', 'uploads of their own'],
  ['MAX_INFLIGHT_CHUNKS_PER_UPLOAD', 'upload_inflight_limit', 'one upload'],
])('%s bodies are open', (variable, reason, which) => {
  const LIMIT = 3

  test(`of ${LIMIT + 1} at once in ${which}, one is refused with ${reason} and the others finish`, async () => {
    const { url } = await useServer({ [variable]: String(LIMIT) })
    const call = clientOf(url)
    const shared = await initiate(call)
    const ids = await Promise.all(
      Array.from({ length: LIMIT + 1 }, async () => (which === 'one upload' ? shared : initiate(call))),
    )
    const puts = await Promise.all(ids.map((id, index) => openChunk(url, id, index)))
    const { put: refused, answer } = await firstAnswer(puts)
    expect(answer.status).toBe(429)
    expect(JSON.parse(answer.text).error_code).toBe('throttled')
    refusedFor(answer, reason)
    await untilInflight(call, LIMIT)

    const others = puts.filter((put) => put !== refused)
    for (const put of others) await finishChunk(put)
    expect((await Promise.all(others.map((put) => put.answer))).map(({ status }) => status)).toEqual(
      others.map(() => 202),
    )
    await untilInflight(call, 0)
    expect(await countOf(call, reason)).toBe(1)
    const again = await openChunk(url, ids[puts.indexOf(refused)] ?? '', puts.indexOf(refused))
    expect((await (await finishChunk(again)).answer).status).toBe(202)
  })

  test('by tus a further one is 503 with the same headers, and a HEAD goes on; other uploads only where the limit is of one', async () => {
    const { url } = await useServer({ [variable]: '1', ADMISSION_WAIT_SECONDS: '0' })
    const call = clientOf(url)
    const [id, other] = [await initiate(call), await initiate(call)]
    const open = await openChunk(url, id, 0)
    await untilInflight(call, 1)

    const patch = await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: Buffer.alloc(10) })
    expect(patch.status).toBe(503)
    refusedFor(patch, reason)
    expect((await call('HEAD', `/files/${id}`, { headers: TUS })).status).toBe(200)
    const elsewhere = await call('PUT', `/v1/uploads/${other}/chunks/0`, { body: Buffer.alloc(CHUNK) })
    expect(elsewhere.status).toBe(which === 'one upload' ? 202 : 429)
    const creation = await call('POST', '/files', {
      headers: { ...TUS, 'Upload-Length': '5', 'Content-Type': 'application/offset+octet-stream' },
      body: 'hello',
    })
    expect(creation.status).toBe(which === 'one upload' ? 201 : 503)

    expect((await (await finishChunk(open)).answer).status).toBe(202)
  })

  test('a refused client that waits for 100 Continue never sends its body', async () => {
    const { url } = await useServer({ [variable]: '1' })
    const call = clientOf(url)
    const id = await initiate(call)
    await openChunk(url, id, 0)
    await untilInflight(call, 1)
    const put = slowRequest(url, 'PUT', `/v1/uploads/${id}/chunks/1`, {
      'Content-Length': String(CHUNK),
      Expect: '100-continue',
    })
    let told = false
    put.req.on('continue', () => (told = true))
    const answer = await put.answer
    expect(answer.status).toBe(429)
    refusedFor(answer, reason)
    expect(told).toBe(false)
    put.cut()
  })
})

test('of TASK_QUEUE_MAXSIZE + 1 tus bodies that have to wait at once one is refused with queue_full, natively too, and the others finish', async () => {
  const { url } = await useServer({ MAX_GLOBAL_INFLIGHT_CHUNKS: '1', TASK_QUEUE_MAXSIZE: '3' })
  const call = clientOf(url)
  const id = await initiate(call)
  const open = await openChunk(url, id, 0)
  await untilInflight(call, 1)
  const patches = await Promise.all(
    [ALICE, BOB, ALICE, BOB].map(async (key) => {
      const path = `/files/${await initiate(clientOf(url, key))}`
      return slowRequest(url, 'PATCH', path, { ...patchAt(0), 'X-API-Key': key, 'Content-Length': '10' })
    }),
  )
  const { put: refused, answer } = await firstAnswer(patches)
  expect(answer.status).toBe(503)
  refusedFor(answer, 'queue_full')
  await untilQueued(call, 3)
  const native = await call('PUT', `/v1/uploads/${id}/chunks/1`, { body: Buffer.alloc(CHUNK) })
  expect(native.status).toBe(429)
  refusedFor(native, 'queue_full')
  expect(await countOf(call, 'queue_full')).toBe(2)

  await finishChunk(open)
  const others = patches.filter((patch) => patch !== refused)
  for (const patch of others) {
    await patch.send(Buffer.alloc(10))
    patch.end()
  }
  expect((await Promise.all(others.map((patch) => patch.answer))).map(({ status }) => status)).toEqual([
    204, 204, 204,
  ])
  await untilQueued(call, 0)
})

test('more bodies that trickle than workers, all the while, keep a fast one from nothing', async () => {
  const WORKERS = 2
  const { url } = await useServer({ WORKER_COUNT: String(WORKERS) })
  const call = clientOf(url)
  const slow = await Promise.all(
    Array.from({ length: WORKERS + 1 }, async () => openChunk(url, await initiate(call), 0)),
  )
  await untilInflight(call, WORKERS + 1)
  let over = false
  const trickles = slow.map(async (put) => {
    for (let sent = 0; !over; sent += 1) {
      await put.send(Buffer.alloc(1))
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    put.cut()
  })
  const id = await initiate(call)
  for (let index = 0; index < 8; index++)
    expect(
      (await call('PUT', `/v1/uploads/${id}/chunks/${index}`, { body: Buffer.alloc(CHUNK) })).status,
    ).toBe(202)
  await untilInflight(call, WORKERS + 1)
  over = true
  await Promise.all(trickles)
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

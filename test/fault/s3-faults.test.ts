import { expect, onTestFinished, test } from 'vitest'
import { Upload } from 'tus-js-client'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { spawnServer } from '../support/process.ts'
import type { FaultProxy } from '../support/s3/fault-proxy.ts'
import type { Rule } from '../support/s3/fault-rules.ts'
import { startFaultProxy } from '../support/s3/fault-proxy.ts'
import { startS3 } from '../support/s3/server.ts'
import { s3Env } from '../support/s3-env.ts'
import { useS3Server } from '../support/s3-server.ts'
import { byTus, createByInit, createByTus, natively, offsetOf } from '../support/s3-uploads.ts'
import { ALICE } from '../support/server.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const CHUNK = 5 * MIB

/** Sends it as the usual clients do, in bodies of 7 MiB, which leave pieces in the middle of chunks. @returns its path */
const sendByTus = (url: string, bytes: Buffer): Promise<string> =>
  new Promise((resolve, reject) => {
    const job: Upload = new Upload(bytes, {
      endpoint: `${url}/files`,
      headers: { 'X-API-Key': ALICE },
      chunkSize: 7 * MIB,
      retryDelays: Array.from({ length: 100 }, () => 50),
      onError: reject,
      onSuccess: () => resolve(new URL(job.url ?? '').pathname),
    })
    job.start()
  })

/** Chunks in any order, three at a time; asks what is missing and sends that until nothing is. @returns its path */
async function sendNatively(url: string, bytes: Buffer): Promise<string> {
  const call = clientOf(url)
  const path = await createByInit(call, { file_size: bytes.length, chunk_size: CHUNK })
  const put = (index: number) =>
    call('PUT', `${path}/chunks/${index}`, { body: bytes.subarray(index * CHUNK, (index + 1) * CHUNK) })
  for (;;) {
    const missing: number[] = (await call('GET', `${path}/missing-chunks`)).json.missing_chunk_indexes
    if (missing.length === 0) break
    await Promise.all(missing.toReversed().slice(0, 3).map(put))
  }
  await eventually(
    async () => (await call('POST', `${path}/complete`)).status === 200,
    'the upload is complete',
  )
  return byTus(path)
}

const DIALECTS = { tus: sendByTus, natively: sendNatively }

const slowDown = { answer: { status: 503, code: 'SlowDown' } }

/** What happens on the way to S3, and how often: more often than one request is tried. */
const FAULTS: Record<string, Rule> = {
  'parts that S3 is too busy for': { ...slowDown, operation: ['UploadPart', 'PutObject'], times: 7 },
  'errors of every kind of request': { answer: { status: 500, code: 'InternalError' }, skip: 1, times: 9 },
  'connections that are reset in the middle of a part': {
    operation: ['UploadPart', 'PutObject'],
    resetAfterBytes: MIB,
    times: 7,
  },
  'connections that are reset before a byte': { resetAfterBytes: 0, times: 7 },
  'answers to parts that get lost': { operation: ['UploadPart', 'PutObject'], loseAnswer: true, times: 7 },
  'a lost answer to the creation': { operation: 'CreateMultipartUpload', loseAnswer: true, times: 5 },
  'lost answers to the completion': { operation: 'CompleteMultipartUpload', loseAnswer: true, times: 5 },
  'a completion that fails with 200': {
    operation: 'CompleteMultipartUpload',
    answer: { status: 200, code: 'InternalError' },
    times: 5,
  },
  'pieces that break off when they are read back': {
    operation: 'GetObject',
    truncateAfterBytes: MIB,
    times: 5,
  },
}

const cases = Object.entries(FAULTS)
  .flatMap(([what, { operation }]) =>
    Object.keys(DIALECTS).flatMap((dialect) =>
      [0, 3].map((maxRetries) => ({ what, operation, dialect, maxRetries })),
    ),
  )
  // Chunks that come whole are never read back.
  .filter(({ operation, dialect }) => operation !== 'GetObject' || dialect === 'tus')

test.each(cases)(
  '$what are got over by a file that is sent $dialect, with $maxRetries tries more of ours',
  async ({ what, dialect, maxRetries }) => {
    const { server, proxy, s3 } = await useS3Server(
      { MAX_RETRIES: String(maxRetries) },
      // Half of them as Amazon does it, half as others do.
      { completesAgain: maxRetries > 0 },
    )
    const rule = proxy.rule(FAULTS[what] ?? {})
    const bytes = bytesOf(4 * CHUNK + 12_345)
    const path = await DIALECTS[dialect as keyof typeof DIALECTS](server.url, bytes)
    proxy.clear()
    expect(rule.hits()).toBeGreaterThan(0)
    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
    await eventually(() => s3.objects().length === 1, 'there is the object alone')
  },
)

test('a file that was put and whose answer was lost is put again, and is there once', async () => {
  const { server, proxy, s3 } = await useS3Server({ MAX_RETRIES: '1' })
  const call = clientOf(server.url)
  proxy.rule({ operation: 'PutObject', loseAnswer: true, times: 1 })
  const path = await createByTus(call, 5)
  expect((await call('PATCH', path, { headers: patchAt(0), body: 'hello' })).status).toBe(204)
  expect(s3.counts()).toEqual({ PutObject: 3, HeadObject: 1 })
  expect(String(await download(server.url, path))).toBe('hello')
})

test.each([
  { status: 501, code: 'NotImplemented' },
  { status: 400, code: 'InvalidArgument' },
])(
  'an engine that answers a conditional write $status gets plain ones, and is not asked again',
  async (answer) => {
    const { server, proxy } = await useS3Server()
    const call = clientOf(server.url)
    const rule = proxy.rule({ operation: 'PutObject', answer, times: 1 })
    for (const text of ['hello', 'again']) {
      const path = await createByTus(call, 5)
      expect((await call('PATCH', path, { headers: patchAt(0), body: text })).status).toBe(204)
      expect(String(await download(server.url, path))).toBe(text)
    }
    expect(rule.hits()).toBe(1)
    const conditional = proxy.requests.filter(({ headers }) => 'if-none-match' in headers)
    expect(conditional).toHaveLength(1)
  },
)

test('an engine that can not copy parts gets them sent', async () => {
  const { server, proxy, s3 } = await useS3Server()
  const call = clientOf(server.url)
  proxy.rule({ operation: 'UploadPartCopy', answer: { status: 501, code: 'NotImplemented' } })
  const bytes = bytesOf(20 * MIB)
  const part = await createByTus(call, bytes.length, { 'Upload-Concat': 'partial' })
  await call('PATCH', part, { headers: patchAt(0), body: bytes })
  const concat = { ...TUS, 'Upload-Concat': `final;${part} ${part}` }
  const answer = await call('POST', '/files', { headers: concat })
  expect(answer.status).toBe(201)
  const path = new URL(answer.headers.get('location') ?? '').pathname
  expect(sha256(await download(server.url, path))).toBe(sha256(Buffer.concat([bytes, bytes])))
  expect(s3.count('UploadPartCopy')).toBe(0)
})

test('an upload goes on while its parts take long, and others are not held up', async () => {
  const { server, proxy } = await useS3Server()
  const call = clientOf(server.url)
  const bytes = bytesOf(2 * CHUNK)
  const slow = await createByTus(call, bytes.length)
  proxy.rule({ operation: 'UploadPart', hold: 'answer' })
  const patch = call('PATCH', slow, { headers: patchAt(0), body: bytes })
  await eventually(() => proxy.held() > 0, 'the first part is on its way')
  const quick = await createByTus(call, 5)
  expect((await call('PATCH', quick, { headers: patchAt(0), body: 'hello' })).status).toBe(204)
  expect(await offsetOf(call, slow)).toBe(0)
  proxy.clear()
  expect((await patch).status).toBe(204)
  expect(sha256(await download(server.url, slow))).toBe(sha256(bytes))
})

test('a concatenation that is broken off is done again, and its file is right', async () => {
  const { server, proxy, s3 } = await useS3Server({ MAX_RETRIES: '0' })
  const call = clientOf(server.url)
  const files = [bytesOf(2 * CHUNK + 3, 1), bytesOf(17, 2), bytesOf(CHUNK, 3)]
  const parts: string[] = []
  for (const bytes of files) {
    const path = await createByTus(call, bytes.length, { 'Upload-Concat': 'partial' })
    await call('PATCH', path, { headers: patchAt(0), body: bytes })
    parts.push(path)
  }
  const ask = () =>
    call('POST', '/files', { headers: { ...TUS, 'Upload-Concat': `final;${parts.join(' ')}` } })
  for (const operation of [
    'CompleteMultipartUpload',
    'UploadPart',
    'GetObject',
    'CompleteMultipartUpload',
  ] as const) {
    proxy.rule({ ...slowDown, operation, times: 1 })
    proxy.rule({ operation: 'CompleteMultipartUpload', loseAnswer: true, skip: 1, times: 1 })
    expect([201, 503]).toContain((await ask()).status)
    proxy.clear()
  }
  const answer = await ask()
  expect(answer.status).toBe(201)
  const path = new URL(answer.headers.get('location') ?? '').pathname
  expect(sha256(await download(server.url, path))).toBe(sha256(Buffer.concat(files)))
  for (const part of [...parts, path]) await call('DELETE', part, { headers: TUS })
  expect([s3.objects(), s3.uploads()]).toEqual([[], []])
})

test.each([
  ['connections that break', { truncateAfterBytes: 3 * MIB, times: 6 } satisfies Rule],
  ['errors in between', { ...slowDown, times: 2 } satisfies Rule],
])('a download goes on over %s, and no byte comes twice', async (_what, fault) => {
  const { server, proxy } = await useS3Server()
  const call = clientOf(server.url)
  const bytes = bytesOf(30 * MIB)
  const path = await createByTus(call, bytes.length)
  await call('PATCH', path, { headers: patchAt(0), body: bytes })
  const rule = proxy.rule({ operation: 'GetObject', ...fault })
  const read = async (first: number, last: number) => {
    const headers = { 'X-API-Key': ALICE, Range: `bytes=${first}-${last}` }
    return Buffer.from(await (await fetch(server.url + path, { headers })).arrayBuffer())
  }
  expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
  expect(rule.hits()).toBeGreaterThan(1)
  const range = proxy.rule({ operation: 'GetObject', truncateAfterBytes: 1000, times: 3 })
  expect(sha256(await read(5 * MIB, 6 * MIB))).toBe(sha256(bytes.subarray(5 * MIB, 6 * MIB + 1)))
  expect(range.hits()).toBe(3)
})

test('a download that S3 gives no more of breaks off, and never ends short', async () => {
  const { server, proxy } = await useS3Server({ MAX_RETRIES: '1' })
  const call = clientOf(server.url)
  const bytes = bytesOf(12 * MIB)
  const path = await createByTus(call, bytes.length)
  await call('PATCH', path, { headers: patchAt(0), body: bytes })
  proxy.rule({ operation: 'GetObject', ...slowDown, skip: 1 })
  await expect(download(server.url, path)).rejects.toThrow()
  proxy.clear()
  proxy.rule({ operation: 'GetObject', ...slowDown })
  const answer = await call('GET', path)
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
})

test('a client that leaves its download releases what S3 was to send, also while it is waited for', async () => {
  const { server, proxy } = await useS3Server()
  const call = clientOf(server.url)
  const bytes = bytesOf(40 * MIB)
  const path = await createByTus(call, bytes.length)
  await call('PATCH', path, { headers: patchAt(0), body: bytes })
  // All but the first piece of 8 MiB hang.
  proxy.rule({ operation: 'GetObject', hold: 'answer', skip: 1 })
  const leaving = new AbortController()
  const answer = await fetch(server.url + path, {
    headers: { 'X-API-Key': ALICE },
    signal: leaving.signal,
  })
  const reader = answer.body?.getReader()
  let received = 0
  while (received < 8 * MIB) received += (await reader?.read())?.value?.length ?? 0
  await eventually(() => proxy.held() > 0, 'further pieces are asked for')
  leaving.abort()
  await eventually(() => proxy.held() === 0, 'nothing is asked of S3 any more')
  proxy.clear()
  expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
})

/** The real process on an emulator, to be killed. */
async function useProcess(env: Record<string, string> = {}) {
  const root = await useFolder()
  const s3 = await startS3()
  onTestFinished(() => s3.close())
  const proxy: FaultProxy = await startFaultProxy(s3.url)
  onTestFinished(() => proxy.close())
  const start = async () => {
    const server = await spawnServer(root, {
      ...s3Env({ ...s3, url: proxy.url }),
      LOG_LEVEL: 'error',
      ...env,
    })
    onTestFinished(() => void server.child.kill('SIGKILL'))
    return server
  }
  return { s3, proxy, start }
}

test('kill -9 in mid-PATCH keeps every acknowledged byte, wherever it strikes', async () => {
  const { s3, proxy, start } = await useProcess()
  const bytes = bytesOf(4 * CHUNK + 99)
  let server = await start()
  const path = await createByTus(clientOf(server.url), bytes.length)
  let acknowledged = 0
  const strikes: Rule[] = [
    { operation: 'PutObject', hold: 'request' },
    { operation: 'PutObject', hold: 'answer' },
    { operation: 'UploadPart', hold: 'request' },
    { operation: 'UploadPart', hold: 'answer' },
    { operation: 'GetObject', hold: 'answer' },
  ]
  for (const strike of strikes) {
    const call = clientOf(server.url)
    const offset = await offsetOf(call, path)
    expect(offset).toBeGreaterThanOrEqual(acknowledged)
    const small = await call('PATCH', path, {
      headers: patchAt(offset),
      body: bytes.subarray(offset, offset + 1000),
    })
    acknowledged = Number(small.headers.get('upload-offset'))
    expect(acknowledged).toBe(offset + 1000)
    proxy.rule(strike)
    // To the middle of the next chunk: a part for what is whole, a piece for the rest.
    const end = (Math.floor(acknowledged / CHUNK) + 1) * CHUNK + 5000
    const patch = slowRequest(server.url, 'PATCH', path, {
      ...patchAt(acknowledged),
      'Content-Length': String(end - acknowledged),
    })
    void patch.send(bytes.subarray(acknowledged, end)).catch(() => {})
    await eventually(() => proxy.held() > 0, 'a request is held')
    expect(await server.signal('SIGKILL')).toBe('SIGKILL')
    patch.cut()
    proxy.clear()
    server = await start()
  }
  const call = clientOf(server.url)
  const offset = await offsetOf(call, path)
  expect(offset).toBeGreaterThanOrEqual(acknowledged)
  const rest = await call('PATCH', path, { headers: patchAt(offset), body: bytes.subarray(offset) })
  expect(rest.status).toBe(204)
  expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
  await eventually(() => s3.objects().length === 1, 'no piece is left behind')
  expect(s3.uploads()).toEqual([])
})

test.each<[string, Rule]>([
  ['before S3 was asked', { operation: 'CompleteMultipartUpload', hold: 'request' }],
  ['after S3 has done it', { operation: 'CompleteMultipartUpload', hold: 'answer' }],
  ['while what lay beside is dropped', { operation: 'ListObjectsV2', hold: 'request' }],
])('kill -9 in the middle of completing, %s, is made good by the next process', async (_when, rule) => {
  const { s3, proxy, start } = await useProcess()
  const bytes = bytesOf(3 * CHUNK + 99)
  const first = await start()
  const path = await createByTus(clientOf(first.url), bytes.length)
  await clientOf(first.url)('PATCH', path, { headers: patchAt(0), body: bytes.subarray(0, 1000) })
  proxy.rule(rule)
  const patch = slowRequest(first.url, 'PATCH', path, {
    ...patchAt(1000),
    'Content-Length': String(bytes.length - 1000),
  })
  void patch.send(bytes.subarray(1000)).catch(() => {})
  await eventually(() => proxy.held() > 0, 'the upload is being completed')
  await first.signal('SIGKILL')
  patch.cut()
  proxy.clear()
  const next = await start()
  const call = clientOf(next.url)
  await eventually(
    async () => (await call('GET', natively(path))).json.status === 'COMPLETED',
    'the upload is completed',
  )
  expect(await offsetOf(call, path)).toBe(bytes.length)
  expect(sha256(await download(next.url, path))).toBe(sha256(bytes))
  expect([s3.objects().length, s3.uploads()]).toEqual([1, []])
})

test('memory is bounded by the budget, however many chunks come at once', async () => {
  const { start } = await useProcess({
    S3_PART_BUFFER_BYTES: String(32 * MIB),
    MAX_INFLIGHT_CHUNKS_PER_UPLOAD: '100',
  })
  const server = await start()
  const call = clientOf(server.url)
  const residentBytes = async () =>
    Number(/^process_resident_memory_bytes (\d+)/m.exec((await call('GET', '/metrics')).text)?.[1])
  const before = await residentBytes()
  const chunk = bytesOf(CHUNK)
  const count = 100
  const path = await createByInit(call, { file_size: count * CHUNK, chunk_size: CHUNK })
  let most = 0
  const watch = setInterval(() => void residentBytes().then((now) => (most = Math.max(most, now))), 50)
  const answers = await Promise.all(
    Array.from({ length: count }, (_, index) => call('PUT', `${path}/chunks/${index}`, { body: chunk })),
  )
  clearInterval(watch)
  expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: count }, () => 202))
  // They have 500 MiB. Beside the budget each may have 2 MiB that were read and not taken, and what
  // goes through sockets waits for the garbage collector.
  expect(most - before).toBeLessThan(300 * MIB)
  expect((await call('POST', `${path}/complete`)).json.status).toBe('COMPLETED')
})

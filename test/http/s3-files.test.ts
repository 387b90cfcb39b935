import { createHash } from 'node:crypto'
import { S3 } from '@aws-sdk/client-s3'
import { describe, expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS, type Client } from '../support/client.ts'
import { useS3Server } from '../support/s3-server.ts'
import { byTus, createByInit, createByTus, natively, offsetOf, statusOf } from '../support/s3-uploads.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const CHUNK = 5 * MIB

const final = async (call: Client, parts: readonly string[]): Promise<string> => {
  const answer = await call('POST', '/files', {
    headers: { ...TUS, 'Upload-Concat': `final;${parts.join(' ')}` },
  })
  expect([answer.status, answer.text]).toEqual([201, ''])
  return new URL(answer.headers.get('location') ?? '').pathname
}

describe.each([
  ['S3', false],
  ['R2', true],
])('on %s', (_engine, r2) => {
  test.each([
    ['that fit into one part', 3, MIB, { PutObject: 4, GetObject: 3 }],
    ['that make several parts', 40, MIB + 1000, { PutObject: 40, UploadPart: 3, GetObject: 42 }],
  ])('chunks of less than 5 MiB %s become one object', async (_what, count, size, requests) => {
    const { server, s3 } = await useS3Server({}, { r2 })
    const call = clientOf(server.url)
    const bytes = bytesOf(count * size - 5)
    const path = await createByInit(call, { file_size: bytes.length, chunk_size: size })
    const put = async (index: number) => {
      const body = bytes.subarray(index * size, (index + 1) * size)
      expect((await call('PUT', `${path}/chunks/${index}`, { body })).status).toBe(202)
    }
    const indexes = Array.from({ length: count }, (_, i) => i).toReversed()
    while (indexes.length > 0) await Promise.all(indexes.splice(0, 4).map(put))
    expect((await call('POST', `${path}/complete`)).json.status).toBe('COMPLETED')
    expect(s3.counts()).toMatchObject(requests)
    expect(s3.objects().map(({ key }) => key)).toEqual([`uploads/${path.split('/').at(-1)}`])
    expect(s3.uploads()).toEqual([])
    expect(sha256(await download(server.url, `${path}/download`))).toBe(sha256(bytes))
  })

  test.each([
    ['with its last bytes', 2 * CHUNK + 77, true],
    ['in a request of its own', 2 * CHUNK + 77, false],
    ['to be what one chunk has', CHUNK, false],
    ['to be less than a chunk', 77, false],
  ])('a length that is told late, %s, makes the file', async (_what, length, together) => {
    const { server, s3 } = await useS3Server({}, { r2 })
    const call = clientOf(server.url)
    const bytes = bytesOf(length)
    const path = await createByTus(call, null)
    const cut = Math.max(0, length - 50)
    await call('PATCH', path, { headers: patchAt(0), body: bytes.subarray(0, cut) })
    const declare = { 'Upload-Length': String(length) }
    const last = { ...patchAt(cut), ...(together && declare) }
    await call('PATCH', path, { headers: last, body: bytes.subarray(cut) })
    if (!together) {
      expect(await statusOf(call, path)).toBe('IN_PROGRESS')
      const answer = await call('PATCH', path, { headers: { ...patchAt(length), ...declare }, body: '' })
      expect(answer.status).toBe(204)
    }
    expect(await statusOf(call, path)).toBe('COMPLETED')
    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
    expect([s3.objects().length, s3.uploads()]).toEqual([1, []])
  })

  test('partial uploads of every make are joined, one of them twice, and the file outlives them', async () => {
    const { server, s3 } = await useS3Server({}, { r2 })
    const call = clientOf(server.url)
    const sizes = [3 * CHUNK + 5, 20, CHUNK, 1000]
    const files = sizes.map((size, i) => bytesOf(size, i + 1))
    const parts = await Promise.all(
      files.map(async (bytes, i) => {
        const path = await createByTus(call, bytes.length, { 'Upload-Concat': 'partial' })
        // The third comes in two bodies, so that it has been beside its place.
        const cut = i === 2 ? 1234 : 0
        if (cut) await call('PATCH', path, { headers: patchAt(0), body: bytes.subarray(0, cut) })
        await call('PATCH', path, { headers: patchAt(cut), body: bytes.subarray(cut) })
        return path
      }),
    )
    const order = [1, 0, 2, 0, 3]
    const path = await final(
      call,
      order.map((i) => parts[i] ?? ''),
    )
    const whole = Buffer.concat(order.map((i) => files[i] ?? Buffer.alloc(0)))
    expect(sha256(await download(server.url, path))).toBe(sha256(whole))
    for (const part of parts) expect((await call('DELETE', part, { headers: TUS })).status).toBe(204)
    expect(sha256(await download(server.url, path))).toBe(sha256(whole))
    expect([s3.objects().length, s3.uploads()]).toEqual([1, []])
  })

  test('a partial upload whose chunk was sent anew makes another file than before', async () => {
    const { server } = await useS3Server({}, { r2 })
    const call = clientOf(server.url)
    const [first, other] = [bytesOf(20 * MIB, 1), bytesOf(MIB, 2)]
    const part = await createByTus(call, first.length, { 'Upload-Concat': 'partial' })
    const small = await createByTus(call, 3, { 'Upload-Concat': 'partial' })
    await call('PATCH', small, { headers: patchAt(0), body: 'abc' })
    await call('PATCH', part, { headers: patchAt(0), body: first })
    const before = await final(call, [part, small])
    expect((await call('DELETE', `${natively(part)}/chunks/0`)).status).toBe(204)
    // Its parts were joined: it can't be changed any more, and does not pretend that it was.
    const put = await call('PUT', `${natively(part)}/chunks/0`, {
      body: Buffer.concat([other, first.subarray(MIB, CHUNK)]),
    })
    expect([put.status, await statusOf(call, part)]).toEqual([409, 'FAILED'])
    expect(sha256(await download(server.url, before))).toBe(
      sha256(Buffer.concat([first, Buffer.from('abc')])),
    )
  })
})

describe('a whole-file checksum', () => {
  const bytes = bytesOf(CHUNK + 100)

  test('that holds completes the upload', async () => {
    const { server } = await useS3Server()
    const call = clientOf(server.url)
    const fields = { file_size: bytes.length, file_checksum_sha256: sha256(bytes) }
    const path = await createByInit(call, fields)
    await call('PATCH', byTus(path), { headers: patchAt(0), body: bytes })
    expect((await call('POST', `${path}/complete`)).json.status).toBe('COMPLETED')
    expect(sha256(await download(server.url, `${path}/download`))).toBe(sha256(bytes))
  })

  test('that does not hold fails it for good, and its object is gone', async () => {
    const { server, s3 } = await useS3Server()
    const call = clientOf(server.url)
    const fields = { file_size: bytes.length, file_checksum_sha256: sha256(bytesOf(1)) }
    const path = await createByInit(call, fields)
    for (const index of [0, 1])
      await call('PUT', `${path}/chunks/${index}`, {
        body: bytes.subarray(index * CHUNK, (index + 1) * CHUNK),
      })
    const answer = await call('POST', `${path}/complete`)
    expect([answer.status, answer.json.detail]).toEqual([409, expect.stringMatching(/SHA-256/)])
    expect([await statusOf(call, path), s3.objects(), s3.uploads()]).toEqual(['FAILED', [], []])
  })
})

test('a checksummed PATCH over several chunks counts at once after its verdict, or not at all', async () => {
  const { server } = await useS3Server()
  const call = clientOf(server.url)
  const bytes = bytesOf(2 * CHUNK + 10)
  const path = await createByTus(call, bytes.length)
  const digest = createHash('sha512').update(bytes).digest('base64')
  const wrong = { ...patchAt(0), 'Upload-Checksum': `sha512 ${createHash('sha512').digest('base64')}` }
  expect((await call('PATCH', path, { headers: wrong, body: bytes })).status).toBe(460)
  expect(await offsetOf(call, path)).toBe(0)
  const right = { ...patchAt(0), 'Upload-Checksum': `sha512 ${digest}` }
  expect((await call('PATCH', path, { headers: right, body: bytes })).status).toBe(204)
  expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
})

test('a chunk that is freed may be sent again with other bytes, in files of one chunk and of several', async () => {
  const { server } = await useS3Server()
  const call = clientOf(server.url)
  for (const size of [1000, CHUNK + 1000]) {
    const path = await createByInit(call, { file_size: size })
    const [first, second] = [bytesOf(size, 1), bytesOf(size, 2)]
    const put = (bytes: Buffer, index: number) =>
      call('PUT', `${path}/chunks/${index}`, { body: bytes.subarray(index * CHUNK, (index + 1) * CHUNK) })
    const indexes = Array.from({ length: Math.ceil(size / CHUNK) }, (_, i) => i)
    for (const index of indexes) expect((await put(first, index)).status).toBe(202)
    for (const index of indexes) expect((await call('DELETE', `${path}/chunks/${index}`)).status).toBe(204)
    for (const index of indexes) expect((await put(second, index)).status).toBe(202)
    expect((await call('POST', `${path}/complete`)).json.status).toBe('COMPLETED')
    expect(sha256(await download(server.url, `${path}/download`))).toBe(sha256(second))
  }
})

test('the object of a finished file is never overwritten by one who comes late with other bytes', async () => {
  const { server, s3, proxy } = await useS3Server()
  const call = clientOf(server.url)
  const path = await createByInit(call, { file_size: 5 })
  proxy.rule({ operation: 'PutObject', hold: 'request', times: 1 })
  // Two processes may write at once where one has lost its lock: here one writes by hand.
  const late = call('PUT', `${path}/chunks/0`, { body: Buffer.from('late!') })
  while (proxy.held() === 0) await new Promise((resolve) => setTimeout(resolve, 10))
  const client = new S3({
    endpoint: s3.url,
    region: s3.region,
    credentials: s3.credentials,
    forcePathStyle: true,
  })
  await client.putObject({ Bucket: s3.bucket, Key: `uploads/${path.split('/').at(-1)}`, Body: 'first' })
  client.destroy()
  proxy.release()
  // Nothing counts of what was written by hand, so that the late one may replace it.
  expect((await late).status).toBe(202)
  expect(String(await s3.read(`uploads/${path.split('/').at(-1)}`))).toBe('late!')
  expect(s3.count('HeadObject')).toBe(1)
})

describe('limits', () => {
  const env = { S3_PART_BUFFER_BYTES: String(8 * MIB) }

  test('a chunk_size that memory does not hold is 422 and named, unless the file is shorter', async () => {
    const { server } = await useS3Server(env)
    const call = clientOf(server.url)
    const ask = (file_size: number, chunk_size: number) =>
      call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size, chunk_size } })
    const refused = await ask(100 * MIB, 8 * MIB + 1)
    expect([refused.status, refused.json.detail]).toEqual([
      422,
      expect.stringMatching(/^chunk_size: .*8388608/),
    ])
    expect([(await ask(100 * MIB, 8 * MIB)).status, (await ask(MIB, 8 * MIB + 1)).status]).toEqual([201, 201])
  })

  test('small chunks are packed within the memory that there is', async () => {
    const { server } = await useS3Server(env)
    const call = clientOf(server.url)
    const bytes = bytesOf(20 * MIB)
    const path = await createByInit(call, { file_size: bytes.length, chunk_size: MIB })
    for (let index = 0; index < 20; index++)
      await call('PUT', `${path}/chunks/${index}`, { body: bytes.subarray(index * MIB, (index + 1) * MIB) })
    expect((await call('POST', `${path}/complete`)).json.status).toBe('COMPLETED')
    expect(sha256(await download(server.url, `${path}/download`))).toBe(sha256(bytes))
  })

  test('many clients that send some and then trickle do not stop a fast one, and lose nothing', async () => {
    const { server, s3 } = await useS3Server(env)
    const call = clientOf(server.url)
    // Together they send half as much again as there is memory for.
    const slow = await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const bytes = bytesOf(CHUNK, i + 1)
        const path = await createByTus(call, CHUNK)
        const headers = { ...patchAt(0), 'Content-Length': String(CHUNK) }
        const request = slowRequest(server.url, 'PATCH', path, headers)
        let at = 0
        const send = (length: number) => {
          void request.send(bytes.subarray(at, at + length))
          at += length
        }
        send(MIB)
        return { path, bytes, request, send, rest: () => send(CHUNK - at) }
      }),
    )
    const trickle = setInterval(() => slow.forEach(({ send }) => send(1)), 300)
    const bytes = bytesOf(2 * CHUNK, 99)
    const path = await createByTus(call, bytes.length)
    expect((await call('PATCH', path, { headers: patchAt(0), body: bytes })).status).toBe(204)
    clearInterval(trickle)
    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))

    for (const { rest } of slow) rest()
    for (const { request, path, bytes } of slow) {
      expect((await request.answer).status).toBe(204)
      expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
    }
    // Pieces that were laid aside on the way go away.
    expect(s3.count('DeleteObject')).toBeGreaterThan(0)
    await eventually(() => s3.objects('uploads/staged/').length === 0, 'no piece is left')
  })
})

test('/ready is 503 while the bucket is away, and 200 when it is back', async () => {
  const { server, proxy } = await useS3Server()
  const call = clientOf(server.url)
  expect((await call('GET', '/ready')).status).toBe(200)
  proxy.rule({ resetAfterBytes: 0 })
  expect((await call('GET', '/ready')).status).toBe(503)
  proxy.clear()
  expect((await call('GET', '/ready')).status).toBe(200)
})

test('encryption is asked for every object and the storage class for files alone', async () => {
  const { server, s3 } = await useS3Server({
    S3_SSE: 'aws:kms',
    S3_SSE_KMS_KEY_ID: 'alias/films',
    S3_STORAGE_CLASS: 'STANDARD_IA',
  })
  const call = clientOf(server.url)
  const large = await createByTus(call, CHUNK + 1)
  await call('PATCH', large, { headers: patchAt(0), body: bytesOf(CHUNK + 1) })
  await call('PATCH', await createByTus(call, 5), { headers: patchAt(0), body: 'hello' })
  await call('PATCH', await createByTus(call, 5), { headers: patchAt(0), body: 'hel' })
  const encryption = { algorithm: 'aws:kms', keyId: 'alias/films' }
  const seen = s3
    .objects()
    .map(({ key, ...rest }) => [key.includes('/staged/'), rest.encryption, rest.storageClass])
  expect(seen).toEqual(
    [
      [true, encryption, 'STANDARD'],
      [false, encryption, 'STANDARD_IA'],
      [false, encryption, 'STANDARD_IA'],
    ].toSorted((a, b) => Number(a[0]) - Number(b[0])),
  )
  expect(await download(server.url, large)).toHaveLength(CHUNK + 1)
})

test('retries and the time of writes are counted', async () => {
  const { server, proxy } = await useS3Server()
  const call = clientOf(server.url)
  proxy.rule({ operation: 'PutObject', answer: { status: 503, code: 'SlowDown' }, times: 2 })
  const path = await createByTus(call, 5)
  expect((await call('PATCH', path, { headers: patchAt(0), body: 'hello' })).status).toBe(204)
  const metrics = (await call('GET', '/metrics')).text
  expect(metrics).toMatch(/^retries_total\{operation="PutObject"\} 2$/m)
  expect(metrics).toMatch(/^s3_put_latency_seconds_count 1$/m)
})

test('what S3 says of a failure reaches the log and not the client, and no signature goes with it', async () => {
  const { server, proxy } = await useS3Server()
  const call = clientOf(server.url)
  proxy.rule({ operation: 'PutObject', answer: { status: 403, code: 'AccessDenied' } })
  const path = await createByTus(call, 5)
  const answer = await call('PUT', `${natively(path)}/chunks/0`, { body: Buffer.from('hello') })
  expect([answer.status, answer.json.error_code, answer.headers.get('retry-after')]).toEqual([
    503,
    'unavailable',
    '1',
  ])
  expect(answer.text).not.toMatch(/AccessDenied|injected/)
  const line = server.lines.find(({ status }) => status === 503)
  expect(line).toMatchObject({ err: { type: 'Error', name: 'AccessDenied', status: 403 } })
  expect(JSON.stringify(server.lines)).not.toMatch(/AWS4-HMAC|authorization/i)
})

import { expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS } from '../support/client.ts'
import { useS3Server, type S3World } from '../support/s3-server.ts'
import { createByInit, createByTus, natively, offsetOf } from '../support/s3-uploads.ts'
import { eventually } from '../support/slow-request.ts'

const CHUNK = 5 * MIB

/** What S3 was asked while `work` ran. */
async function requestsOf({ s3 }: S3World, work: () => Promise<unknown>) {
  s3.reset()
  await work()
  return s3.counts()
}

test('a file of one chunk is one request, by either dialect', async () => {
  const world = await useS3Server()
  const call = clientOf(world.server.url)
  const bytes = bytesOf(CHUNK - 7)
  const tus = await requestsOf(world, async () => {
    const path = await createByTus(call, bytes.length)
    expect((await call('PATCH', path, { headers: patchAt(0), body: bytes })).status).toBe(204)
  })
  const native = await requestsOf(world, async () => {
    const path = await createByInit(call, { file_size: bytes.length })
    expect((await call('PUT', `${path}/chunks/0`, { body: bytes })).status).toBe(202)
    expect((await call('POST', `${path}/complete`)).json.status).toBe('COMPLETED')
  })
  expect([tus, native]).toEqual([{ PutObject: 1 }, { PutObject: 1 }])
})

test('a file that comes along with its creation is one request, and an empty one is none', async () => {
  const world = await useS3Server()
  const call = clientOf(world.server.url)
  const headers = {
    ...TUS,
    'Upload-Length': '5',
    'Content-Type': 'application/offset+octet-stream',
  }
  const small = await requestsOf(world, () => call('POST', '/files', { headers, body: 'hello' }))
  expect(small).toEqual({ PutObject: 1 })
  const empty = await requestsOf(world, async () => {
    const path = await createByTus(call, 0)
    expect(await download(world.server.url, path)).toHaveLength(0)
  })
  expect(empty).toEqual({})
})

test('a file of n chunks is n + 2 requests, by either dialect, in any order and at once', async () => {
  const world = await useS3Server()
  const call = clientOf(world.server.url)
  const bytes = bytesOf(3 * CHUNK + 1)
  let path = ''
  const tus = await requestsOf(world, async () => {
    path = await createByTus(call, bytes.length)
    expect((await call('PATCH', path, { headers: patchAt(0), body: bytes })).status).toBe(204)
  })
  expect(sha256(await download(world.server.url, path))).toBe(sha256(bytes))
  const native = await requestsOf(world, async () => {
    path = await createByInit(call, { file_size: bytes.length, chunk_size: CHUNK })
    const put = (index: number) =>
      call('PUT', `${path}/chunks/${index}`, { body: bytes.subarray(index * CHUNK, (index + 1) * CHUNK) })
    const answers = await Promise.all([3, 1, 0, 2].map(put))
    expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 202])
    expect((await call('POST', `${path}/complete`)).json.status).toBe('COMPLETED')
  })
  expect(sha256(await download(world.server.url, `${path}/download`))).toBe(sha256(bytes))
  const expected = { CreateMultipartUpload: 1, UploadPart: 4, CompleteMultipartUpload: 1 }
  expect([tus, native]).toEqual([expected, expected])
})

test('creating, HEAD, missing-chunks, list and a chunk that comes again ask nothing of S3', async () => {
  const world = await useS3Server()
  const call = clientOf(world.server.url)
  const bytes = bytesOf(2 * CHUNK)
  const created = await requestsOf(world, () => createByTus(call, bytes.length))
  expect(created).toEqual({})
  const path = await createByInit(call, { file_size: bytes.length, chunk_size: CHUNK })
  const chunk = bytes.subarray(CHUNK)
  await call('PUT', `${path}/chunks/1`, { body: chunk })
  const looking = await requestsOf(world, async () => {
    expect(await offsetOf(call, path)).toBe(0)
    expect((await call('GET', `${path}/missing-chunks`)).json.missing_chunk_indexes).toEqual([0])
    expect((await call('GET', '/v1/uploads')).status).toBe(200)
    expect((await call('PUT', `${path}/chunks/1`, { body: chunk })).status).toBe(202)
    expect((await call('PUT', `${path}/chunks/1`, { body: bytesOf(CHUNK, 9) })).status).toBe(409)
  })
  expect(looking).toEqual({})
})

test("chunks that come first don't count as a prefix: the offset is what the ledger says", async () => {
  const { server } = await useS3Server()
  const call = clientOf(server.url)
  const bytes = bytesOf(4 * CHUNK)
  const path = await createByTus(call, bytes.length)
  for (const index of [3, 1])
    await call('PUT', `${natively(path)}/chunks/${index}`, {
      body: bytes.subarray(index * CHUNK, (index + 1) * CHUNK),
    })
  expect(await offsetOf(call, path)).toBe(0)
  await call('PATCH', path, { headers: patchAt(0), body: bytes.subarray(0, CHUNK) })
  expect(await offsetOf(call, path)).toBe(2 * CHUNK)
  await call('PATCH', path, { headers: patchAt(2 * CHUNK), body: bytes.subarray(2 * CHUNK, 3 * CHUNK) })
  expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
})

test('a download is one request for a short range and one for each 8 MiB of a long one', async () => {
  const world = await useS3Server()
  const { server } = world
  const call = clientOf(server.url)
  const bytes = bytesOf(4 * CHUNK + 3)
  const path = await createByTus(call, bytes.length)
  await call('PATCH', path, { headers: patchAt(0), body: bytes })
  const short = await requestsOf(world, async () => {
    const part = await call('GET', path, { headers: { Range: 'bytes=100-199' } })
    expect(part.status).toBe(206)
  })
  const whole = await requestsOf(world, async () => {
    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
  })
  expect([short, whole]).toEqual([{ GetObject: 1 }, { GetObject: 3 }])
})

test.each([
  ['one chunk is one request', CHUNK, { DeleteObject: 1 }],
  ['several is two', CHUNK + 1, { DeleteObject: 1, ListMultipartUploads: 1 }],
])('deleting a finished upload of %s', async (_what, size, requests) => {
  const world = await useS3Server()
  const call = clientOf(world.server.url)
  const bytes = bytesOf(size)
  const path = await createByTus(call, bytes.length)
  await call('PATCH', path, { headers: patchAt(0), body: bytes })
  const deleting = await requestsOf(world, async () => {
    expect((await call('DELETE', path, { headers: TUS })).status).toBe(204)
  })
  expect(deleting).toEqual(requests)
  expect(world.s3.objects()).toEqual([])
})

test('a body without a byte, and a chunk that breaks off, ask nothing of S3', async () => {
  const world = await useS3Server()
  const call = clientOf(world.server.url)
  const path = await createByTus(call, 2 * CHUNK)
  const nothing = await requestsOf(world, async () => {
    expect((await call('PATCH', path, { headers: patchAt(0), body: '' })).status).toBe(204)
    const short = new ReadableStream({
      start(controller) {
        controller.enqueue(bytesOf(1000))
        controller.close()
      },
    })
    expect((await call('PUT', `${natively(path)}/chunks/0`, { body: short })).status).toBe(400)
  })
  expect(nothing).toEqual({})
})

test('a PATCH that ends inside of a chunk leaves one piece, and the next takes it back', async () => {
  const world = await useS3Server()
  const { s3, server } = world
  const call = clientOf(server.url)
  const bytes = bytesOf(CHUNK + 1000)
  const path = await createByTus(call, bytes.length)
  const first = await requestsOf(world, () =>
    call('PATCH', path, { headers: patchAt(0), body: bytes.subarray(0, 1000) }),
  )
  expect(first).toEqual({ PutObject: 1 })
  const second = await requestsOf(world, () =>
    call('PATCH', path, { headers: patchAt(1000), body: bytes.subarray(1000, CHUNK) }),
  )
  expect(second).toMatchObject({ GetObject: 1, CreateMultipartUpload: 1, UploadPart: 1 })
  await eventually(() => s3.objects().length === 0, 'the piece that was taken back is dropped')
  await call('PATCH', path, { headers: patchAt(CHUNK), body: bytes.subarray(CHUNK) })
  expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
})

test('a chunk that comes again under its Idempotency-Key is compared after completion, too, and asks S3 nothing', async () => {
  const world = await useS3Server()
  const call = clientOf(world.server.url)
  const bytes = bytesOf(CHUNK + 1)
  const path = await createByInit(call, { file_size: bytes.length })
  const put = (index: number, body: Buffer) =>
    call('PUT', `${path}/chunks/${index}`, { body, headers: { 'Idempotency-Key': `chunk ${index}` } })
  const first = bytes.subarray(0, CHUNK)
  await Promise.all([put(0, first), put(1, bytes.subarray(CHUNK))])
  await call('POST', `${path}/complete`)
  const requests = await requestsOf(world, async () => {
    expect((await put(0, first)).status).toBe(202)
    expect((await put(0, bytes.subarray(1))).status).toBe(409)
    expect((await put(1, Buffer.from([(bytes.at(-1) ?? 0) ^ 1]))).status).toBe(409)
  })
  expect(requests).toEqual({})
})

import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS } from '../support/client.ts'
import { useS3Server, type S3World } from '../support/s3-server.ts'
import { createByTus, natively, offsetOf, statusOf } from '../support/s3-uploads.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const CHUNK = 5 * MIB
const SLOW_DOWN = { answer: { status: 503, code: 'SlowDown' } }

/** The request that brings a part, from 1. */
const part = (number: number) => ({
  operation: 'UploadPart' as const,
  url: new RegExp(`[?&]partNumber=${number}(&|$)`),
})

const partsOf = ({ s3 }: S3World) => s3.uploads()[0]?.parts.map(({ partNumber }) => partNumber) ?? []

/** A server, a file and an upload for it, of which nothing is there. */
async function useUpload(size: number, env: Record<string, string> = {}) {
  const world = await useS3Server(env)
  const call = clientOf(world.server.url)
  const bytes = bytesOf(size)
  const path = await createByTus(call, size)
  const patch = (from: number, to = size, headers = {}) =>
    call('PATCH', path, { headers: { ...patchAt(from), ...headers }, body: bytes.subarray(from, to) })
  const goOn = async () => {
    expect((await patch(await offsetOf(call, path))).status).toBe(204)
    expect(sha256(await download(world.server.url, path))).toBe(sha256(bytes))
    await eventually(() => world.s3.objects().length === 1, 'nothing lies beside the file')
    expect(world.s3.uploads()).toEqual([])
  }
  /** Lets go on what a rule holds, once it does: before, it would be held ever after. */
  const release = async () => {
    await eventually(() => world.proxy.held() > 0, 'something is held')
    world.proxy.clear()
  }
  return { world, call, bytes, path, patch, goOn, release }
}

test('parts of one PATCH are on their way side by side, a few and not all', async () => {
  const { world, call, path, patch } = await useUpload(9 * CHUNK)
  world.proxy.rule({ operation: 'UploadPart', hold: 'request' })
  const answer = patch(0)
  await eventually(() => world.proxy.held() >= 4, 'four parts are on their way')
  expect(world.proxy.held()).toBeLessThan(9)
  expect(await offsetOf(call, path)).toBe(0)
  world.proxy.clear()
  expect((await answer).status).toBe(204)
  expect(await statusOf(call, path)).toBe('COMPLETED')
})

test('a later part that is there first moves the offset only once the earlier one is', async () => {
  const { world, call, bytes, path, patch, release } = await useUpload(4 * CHUNK + 1)
  const held = world.proxy.rule({ ...part(1), hold: 'answer' })
  const answer = patch(0)
  await eventually(() => partsOf(world).length === 5, 'all parts are there')
  expect(await offsetOf(call, path)).toBe(0)
  const { missing_chunk_indexes: missing } = (await call('GET', `${natively(path)}/missing-chunks`)).json
  expect([missing, held.hits()]).toEqual([[0, 1, 2, 3, 4], 1])
  await release()
  expect((await answer).headers.get('upload-offset')).toBe(String(bytes.length))
  expect(sha256(await download(world.server.url, path))).toBe(sha256(bytes))
})

test('what has come counts as soon as it is stored, while the client is slow with the next', async () => {
  const { world, call, bytes, path } = await useUpload(3 * CHUNK)
  const slow = slowRequest(world.server.url, 'PATCH', path, {
    ...patchAt(0),
    'Content-Length': String(bytes.length),
  })
  await slow.send(bytes.subarray(0, CHUNK + 1))
  await eventually(async () => (await offsetOf(call, path)) === CHUNK, 'the first part counts')
  await slow.send(bytes.subarray(CHUNK + 1))
  slow.end()
  expect((await slow.answer).status).toBe(204)
  expect(await offsetOf(call, path)).toBe(bytes.length)
})

test('a part that fails keeps the later ones from counting, though they are there, and stops the body', async () => {
  const { world, call, path, patch, goOn, release } = await useUpload(12 * CHUNK, { MAX_RETRIES: '0' })
  const failing = world.proxy.rule({ ...part(2), ...SLOW_DOWN, hold: 'request' })
  const patching = patch(0)
  await eventually(() => partsOf(world).includes(3), 'the part behind it is there')
  await release()
  const answer = await patching
  expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1'])
  expect(failing.hits()).toBe(1)
  expect(partsOf(world).length).toBeLessThan(10)
  expect(await offsetOf(call, path)).toBe(CHUNK)
  world.proxy.clear()
  await goOn()
})

test('a piece that was put behind a part that failed is dropped', async () => {
  const { world, call, path, patch, goOn, release } = await useUpload(5 * CHUNK, { MAX_RETRIES: '0' })
  world.proxy.rule({ ...part(1), ...SLOW_DOWN, hold: 'request' })
  const patching = patch(0, 2 * CHUNK + 1000)
  await eventually(() => world.s3.objects().length === 1, 'the piece is there')
  await release()
  expect((await patching).status).toBe(503)
  await eventually(() => world.s3.objects().length === 0, 'the piece is dropped')
  expect(await offsetOf(call, path)).toBe(0)
  world.proxy.clear()
  await goOn()
})

test('of a body that is cut while its parts are on their way, everything that came counts', async () => {
  const { world, call, bytes, path, goOn, release } = await useUpload(5 * CHUNK)
  world.proxy.rule({ ...part(1), hold: 'request' })
  const cut = slowRequest(world.server.url, 'PATCH', path, {
    ...patchAt(0),
    'Content-Length': String(bytes.length),
  })
  const sent = 2 * CHUNK + 300_000
  await cut.send(bytes.subarray(0, sent))
  await eventually(() => partsOf(world).includes(2), 'the second part is there')
  cut.cut()
  await eventually(() => world.s3.objects().length === 1, 'the rest is there')
  expect(await offsetOf(call, path)).toBe(0)
  await release()
  await eventually(async () => (await offsetOf(call, path)) === sent, 'all that came counts')
  await goOn()
})

test('a checksummed PATCH of several parts counts at once, after its verdict, or not at all', async () => {
  const { world, call, bytes, path, patch, goOn, release } = await useUpload(4 * CHUNK)
  const to = 3 * CHUNK + 1000
  const checksum = (of: Buffer) => ({
    'Upload-Checksum': `sha256 ${createHash('sha256').update(of).digest('base64')}`,
  })
  expect((await patch(0, to, checksum(bytes))).status).toBe(460)
  expect([await offsetOf(call, path), partsOf(world)]).toEqual([0, [1, 2, 3]])
  await eventually(() => world.s3.objects().length === 0, 'the piece is dropped')

  world.proxy.rule({ ...part(1), hold: 'answer' })
  const answer = patch(0, to, checksum(bytes.subarray(0, to)))
  await eventually(() => world.s3.objects().length === 1, 'the piece is there')
  expect(await offsetOf(call, path)).toBe(0)
  await release()
  expect((await answer).status).toBe(204)
  expect(await offsetOf(call, path)).toBe(to)
  await goOn()
})

test('a checksummed PATCH one of whose parts fails counts nothing, and leaves no piece', async () => {
  const { world, call, bytes, path, patch, goOn, release } = await useUpload(4 * CHUNK, { MAX_RETRIES: '0' })
  world.proxy.rule({ ...part(2), ...SLOW_DOWN, hold: 'request' })
  const to = 3 * CHUNK + 1000
  const sum = createHash('sha256').update(bytes.subarray(0, to)).digest('base64')
  const patching = patch(0, to, { 'Upload-Checksum': `sha256 ${sum}` })
  await eventually(() => world.s3.objects().length === 1, 'the piece is there')
  await release()
  expect((await patching).status).toBe(503)
  expect(await offsetOf(call, path)).toBe(0)
  await eventually(() => world.s3.objects().length === 0, 'no piece is left')
  world.proxy.clear()
  await goOn()
})

test('an upload that is deleted while its parts are on their way leaves nothing', async () => {
  const { world, call, path, bytes } = await useUpload(6 * CHUNK)
  world.proxy.rule({ operation: 'UploadPart', hold: 'answer' })
  const patch = slowRequest(world.server.url, 'PATCH', path, {
    ...patchAt(0),
    'Content-Length': String(bytes.length),
  })
  void patch.send(bytes.subarray(0, 3 * CHUNK + 1000))
  await eventually(() => world.proxy.held() >= 3, 'parts are on their way')
  const deleted = call('DELETE', path, { headers: TUS })
  await eventually(async () => (await call('HEAD', path, { headers: TUS })).status === 404, 'it is hidden')
  world.proxy.clear()
  expect((await deleted).status).toBe(204)
  expect((await patch.answer.catch(() => ({ status: 0 }))).status).not.toBe(204)
  await eventually(() => world.s3.objects().length + world.s3.uploads().length === 0, 'nothing is left')
})

test('a chunk that comes by its index while a PATCH is on the way to it is waited for, and kept', async () => {
  const { world, call, bytes, path, patch } = await useUpload(4 * CHUNK)
  const put = slowRequest(world.server.url, 'PUT', `${natively(path)}/chunks/2`, {
    'Content-Length': String(CHUNK),
  })
  const chunk = bytes.subarray(2 * CHUNK, 3 * CHUNK)
  await put.send(chunk.subarray(0, 1000))
  const answer = patch(0)
  await eventually(async () => (await offsetOf(call, path)) === 2 * CHUNK, 'what comes before it counts')
  await put.send(chunk.subarray(1000))
  put.end()
  expect([(await put.answer).status, (await answer).status]).toEqual([202, 204])
  expect(world.s3.count('UploadPart')).toBe(4)
  expect(sha256(await download(world.server.url, path))).toBe(sha256(bytes))
})

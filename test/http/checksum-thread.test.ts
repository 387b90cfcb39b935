import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { sharedServer } from '../support/built-process.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt } from '../support/client.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'
import { createByTus, createNatively, offsetOf } from '../support/uploading.ts'

/** Large enough for the thread that hashes, which only a built server has. */
const BYTES = bytesOf(4 * MIB + 3)
const CHUNK = 2 * MIB
const started = sharedServer({ CHUNK_SIZE_BYTES: String(CHUNK) })

const sumOf = (bytes: Uint8Array, algorithm = 'sha256') =>
  `${algorithm} ${createHash(algorithm).update(bytes).digest('base64')}`

const threadsOf = async (pid: number | undefined): Promise<number> =>
  (await readdir(`/proc/${pid}/task`)).length

async function sendByTus(sum: string, bytes = BYTES) {
  const call = clientOf(started().server.url)
  const id = await createByTus(call, bytes.length)
  const headers = { ...patchAt(0), 'Upload-Checksum': sum }
  const { status } = await call('PATCH', `/files/${id}`, { headers, body: bytes })
  return { id, status, offset: await offsetOf(call, id) }
}

test('large bodies side by side are judged each by its own checksum, before and after there is a thread', async () => {
  const { server } = started()
  const before = await threadsOf(server.child.pid)
  for (let round = 0; round < 4; round++) {
    const right = ['sha256', 'sha1', 'md5', 'sha512'].map(async (algorithm) => {
      const { id, status } = await sendByTus(sumOf(BYTES, algorithm))
      expect(status).toBe(204)
      expect(sha256(await download(server.url, `/files/${id}`))).toBe(sha256(BYTES))
    })
    const wrong = [0, 1].map(async () => {
      const { status, offset } = await sendByTus(sumOf(BYTES.subarray(1)))
      expect([status, offset]).toEqual([460, 0])
    })
    await Promise.all([...right, ...wrong])
  }
  expect(await threadsOf(server.child.pid)).toBeGreaterThan(before)
})

test('a chunk whose SHA-256 is another counts nothing, and the right one does', async () => {
  const { server } = started()
  const call = clientOf(server.url)
  const id = await createNatively(call, BYTES.length, CHUNK)
  const put = async (index: number, told: Uint8Array) => {
    const body = BYTES.subarray(index * CHUNK, (index + 1) * CHUNK)
    const headers = { 'X-Chunk-SHA256': sha256(told) }
    return (await call('PUT', `/v1/uploads/${id}/chunks/${index}`, { headers, body })).status
  }
  const chunk = (index: number) => BYTES.subarray(index * CHUNK, (index + 1) * CHUNK)
  expect(await Promise.all([put(0, chunk(1)), put(1, chunk(1)), put(2, chunk(2))])).toEqual([400, 202, 202])
  expect((await call('GET', `/v1/uploads/${id}/missing-chunks`)).json.missing_chunk_indexes).toEqual([0])
  expect(await put(0, chunk(0))).toBe(202)
  expect((await call('POST', `/v1/uploads/${id}/complete`)).status).toBe(200)
  expect(sha256(await download(server.url, `/v1/uploads/${id}/download`))).toBe(sha256(BYTES))
})

test('checksummed bodies that break off count nothing, and harm none that come after them', async () => {
  const { server } = started()
  const call = clientOf(server.url)
  const ids = await Promise.all([0, 1, 2].map(() => createByTus(call, BYTES.length)))
  await Promise.all(
    ids.map(async (id) => {
      const headers = {
        ...patchAt(0),
        'Upload-Checksum': sumOf(BYTES),
        'Content-Length': String(BYTES.length),
      }
      const patch = slowRequest(server.url, 'PATCH', `/files/${id}`, headers)
      await patch.send(BYTES.subarray(0, 3 * MIB))
      patch.cut()
    }),
  )
  for (const id of ids) {
    expect(await offsetOf(call, id)).toBe(0)
    const headers = { ...patchAt(0), 'Upload-Checksum': sumOf(BYTES) }
    const patch = async () => (await call('PATCH', `/files/${id}`, { headers, body: BYTES })).status
    // The server may hear of the cut only now.
    let status = 423
    await eventually(async () => (status = await patch()) !== 423, 'its place is free')
    expect(status).toBe(204)
  }
})

import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { builtServer, preload } from '../support/built-process.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { download, patchAt, type Client } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { createByTus, createNatively, missingChunks, offsetOf } from '../support/uploading.ts'

const CHUNK = MIB
const BYTES = bytesOf(6 * CHUNK - 7)

interface Fault {
  call: 'writev' | 'datasync'
  how: string
  after?: number
}

const startBuilt = builtServer()

/** A server whose writes fail as the test says, from then on. */
async function useFailingServer(env: Record<string, string> = {}) {
  const root = await useFolder()
  const file = path.join(root, 'fault')
  let planted = 0
  const plant = (fault: Fault | null) => writeFile(file, JSON.stringify({ ...fault, planted: planted++ }))
  await plant(null)
  const { server, call } = await startBuilt(root, {
    ...preload('fail-writes.mjs'),
    FAULT_FILE: file,
    CHUNK_SIZE_BYTES: String(CHUNK),
    ...env,
  })
  return { url: server.url, call, plant }
}

const patch = (call: Client, id: string, offset: number) =>
  call('PATCH', `/files/${id}`, { headers: patchAt(offset), body: BYTES.subarray(offset) })

const put = (call: Client, id: string, index: number) =>
  call('PUT', `/v1/uploads/${id}/chunks/${index}`, {
    body: BYTES.subarray(index * CHUNK, (index + 1) * CHUNK),
  })

test('writes that fail are 503 or 507; what was written before counts, and the upload goes on', async () => {
  const { url, call, plant } = await useFailingServer()
  for (const [how, status] of [
    ['EIO', 503],
    ['EINTR', 503],
    ['none', 503],
    ['EDQUOT', 507],
  ] as const) {
    const tus = await createByTus(call, BYTES.length)
    const native = await createNatively(call, BYTES.length, CHUNK)
    expect((await put(call, native, 3)).status).toBe(202)

    await plant({ call: 'writev', how, after: 2 })
    const failed = await patch(call, tus, 0)
    expect([how, failed.status]).toEqual([how, status])
    expect(failed.headers.has('retry-after')).toBe(status === 503)
    const offset = await offsetOf(call, tus)
    expect(offset).toBeGreaterThan(0)
    expect(offset).toBeLessThan(BYTES.length)
    expect((await put(call, native, 4)).status).toBe(status)
    expect(await missingChunks(call, native)).toEqual([0, 1, 2, 4, 5])
    expect((await patch(call, tus, offset)).status).toBe(status)
    expect(await offsetOf(call, tus)).toBe(offset)

    await plant(null)
    expect((await patch(call, tus, offset)).status).toBe(204)
    for (const index of [4, 0, 5, 2, 1]) expect((await put(call, native, index)).status).toBe(202)
    expect((await call('POST', `/v1/uploads/${native}/complete`)).status).toBe(200)
    for (const id of [tus, native]) expect(sha256(await download(url, `/files/${id}`))).toBe(sha256(BYTES))
  }
})

test('writes that take only some of their bytes are gone on with', async () => {
  const { url, call, plant } = await useFailingServer()
  const [tus, native] = [
    await createByTus(call, BYTES.length),
    await createNatively(call, BYTES.length, CHUNK),
  ]
  await plant({ call: 'writev', how: 'short' })
  expect((await patch(call, tus, 0)).status).toBe(204)
  for (const index of [4, 0, 5, 2, 3, 1]) expect((await put(call, native, index)).status).toBe(202)
  expect((await call('POST', `/v1/uploads/${native}/complete`)).status).toBe(200)
  for (const id of [tus, native]) expect(sha256(await download(url, `/files/${id}`))).toBe(sha256(BYTES))
})

test('bytes that can not be forced to the disk do not count, and are 503 or 507', async () => {
  const { url, call, plant } = await useFailingServer({ DURABILITY: 'disk' })
  for (const [how, status] of [
    ['EIO', 503],
    ['ENOSPC', 507],
  ] as const) {
    const tus = await createByTus(call, BYTES.length)
    const native = await createNatively(call, BYTES.length, CHUNK)
    // The first chunk of the PATCH is forced, the second is not.
    await plant({ call: 'datasync', how, after: 1 })
    expect((await patch(call, tus, 0)).status).toBe(status)
    expect(await offsetOf(call, tus)).toBe(CHUNK)
    expect((await put(call, native, 0)).status).toBe(status)
    expect(await missingChunks(call, native)).toContain(0)

    await plant(null)
    expect((await patch(call, tus, CHUNK)).status).toBe(204)
    expect((await put(call, native, 0)).status).toBe(202)
    expect(sha256(await download(url, `/files/${tus}`))).toBe(sha256(BYTES))
  }
})

import Database from 'better-sqlite3'
import path from 'node:path'
import { expect, test } from 'vitest'
import { builtServer } from '../support/built-process.ts'
import { bytesOf, sha256 } from '../support/bytes.ts'
import { download, patchAt, TUS } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { createByTus, createNatively, missingChunks, offsetOf } from '../support/uploading.ts'

const CHUNK = 10_000
const BYTES = bytesOf(2 * CHUNK)

const startBuilt = builtServer()

test('writers are told 503 when another process holds the database for longer than we wait; readers go on, and so do writers afterwards', async () => {
  const root = await useFolder()
  const { server, call } = await startBuilt(root, { CHUNK_SIZE_BYTES: String(CHUNK) })
  const tus = await createByTus(call, BYTES.length)
  const native = await createNatively(call, BYTES.length, CHUNK)
  const patch = () => call('PATCH', `/files/${tus}`, { headers: patchAt(0), body: BYTES })
  const put = (index: number) =>
    call('PUT', `/v1/uploads/${native}/chunks/${index}`, {
      body: BYTES.subarray(index * CHUNK, (index + 1) * CHUNK),
    })
  expect((await put(1)).status).toBe(202)

  const other = new Database(path.join(root, 'uploads.db'))
  other.exec('BEGIN IMMEDIATE')
  let answered = 0
  const writers = [
    () => call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '1' } }),
    () => call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 1 } }),
    patch,
    () => call('DELETE', `/v1/uploads/${native}/chunks/1`),
    () => call('DELETE', `/files/${tus}`, { headers: TUS }),
  ].map(async (write) => {
    const { status, headers } = await write()
    answered += 1
    return [status, headers.get('retry-after')]
  })
  expect((await call('GET', '/ready')).status).toBe(200)
  expect(await offsetOf(call, tus)).toBe(0)
  expect(await missingChunks(call, native)).toEqual([0])
  // None of these waited for the lock.
  expect(answered).toBe(0)
  expect(await Promise.all(writers)).toEqual(writers.map(() => [503, '1']))
  other.exec('ROLLBACK')
  other.close()

  expect((await patch()).status).toBe(204)
  expect((await put(0)).status).toBe(202)
  expect((await call('POST', `/v1/uploads/${native}/complete`)).status).toBe(200)
  for (const id of [tus, native])
    expect(sha256(await download(server.url, `/files/${id}`))).toBe(sha256(BYTES))
})

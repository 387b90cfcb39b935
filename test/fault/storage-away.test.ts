import { existsSync, readdirSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { builtServer } from '../support/built-process.ts'
import { bytesOf, sha256 } from '../support/bytes.ts'
import { download, patchAt, TUS, type Client } from '../support/client.ts'
import { filesIn, useFolder } from '../support/folder.ts'
import { eventually } from '../support/slow-request.ts'
import { mount, unmount, useSmallDisk } from '../support/small-disk.ts'
import { createByTus, createNatively, offsetOf } from '../support/uploading.ts'

const CHUNK = 10_000
const BYTES = bytesOf(4 * CHUNK)

const startBuilt = builtServer()

const start = (root: string, env: Record<string, string> = {}) =>
  startBuilt(root, { CHUNK_SIZE_BYTES: String(CHUNK), REAP_INTERVAL_SECONDS: '1', ...env })

const patch = (call: Client, id: string, from: number, to: number) =>
  call('PATCH', `/files/${id}`, { headers: patchAt(from), body: BYTES.subarray(from, to) })

const put = (call: Client, id: string, index: number) =>
  call('PUT', `/v1/uploads/${id}/chunks/${index}`, {
    body: BYTES.subarray(index * CHUNK, (index + 1) * CHUNK),
  })

const ready = async (call: Client) => (await call('GET', '/ready')).status

/** One upload that is complete, and two that are not. */
async function beginUploads(call: Client) {
  const [complete, tus] = [await createByTus(call, BYTES.length), await createByTus(call, BYTES.length)]
  const native = await createNatively(call, BYTES.length, CHUNK)
  expect((await patch(call, complete, 0, BYTES.length)).status).toBe(204)
  expect((await patch(call, tus, 0, CHUNK + 5)).status).toBe(204)
  expect((await put(call, native, 2)).status).toBe(202)
  return { complete, tus, native }
}

/** Both go on from where they were, and are whole. */
async function finishUploads(url: string, call: Client, { tus, native }: { tus: string; native: string }) {
  expect(await offsetOf(call, tus)).toBe(CHUNK + 5)
  expect((await patch(call, tus, CHUNK + 5, BYTES.length)).status).toBe(204)
  for (const index of [0, 1, 3]) expect((await put(call, native, index)).status).toBe(202)
  expect((await call('POST', `/v1/uploads/${native}/complete`)).status).toBe(200)
  for (const id of [tus, native]) expect(sha256(await download(url, `/files/${id}`))).toBe(sha256(BYTES))
}

test('a disk that turns read-only refuses writers with 503 and serves readers, until it takes writes again', async (context) => {
  const disk = await useSmallDisk(context, '100m')
  const { server, call } = await start(await useFolder(), { STORAGE_ROOT: disk })
  const uploads = await beginUploads(call)
  mount('-o', 'remount,ro', disk)

  expect(await ready(call)).toBe(503)
  const refused = [
    await patch(call, uploads.tus, CHUNK + 5, BYTES.length),
    await put(call, uploads.native, 0),
    await put(call, await createNatively(call, 3 * CHUNK, CHUNK), 0),
  ]
  for (const { status, headers } of refused) expect([status, headers.get('retry-after')]).toEqual([503, '1'])
  expect(await offsetOf(call, uploads.tus)).toBe(CHUNK + 5)
  expect(sha256(await download(server.url, `/files/${uploads.complete}`))).toBe(sha256(BYTES))

  mount('-o', 'remount,rw', disk)
  expect(await ready(call)).toBe(200)
  await finishUploads(server.url, call, uploads)
})

test('while the disk is not mounted nothing is written in its place; then uploads and deletions go on', async (context) => {
  const disk = await useSmallDisk(context, '100m')
  const place = await useFolder()
  mount('--bind', disk, place)
  onTestFinished(() => {
    if (readdirSync(place).length > 0) unmount(place)
  })
  const { server, call } = await start(await useFolder(), { STORAGE_ROOT: place })
  const uploads = await beginUploads(call)
  const deleted = await createByTus(call, BYTES.length)
  await patch(call, deleted, 0, BYTES.length)
  unmount(place)

  expect(await ready(call)).toBe(503)
  expect((await patch(call, uploads.tus, CHUNK + 5, BYTES.length)).status).toBe(503)
  expect((await put(call, uploads.native, 0)).status).toBe(503)
  expect((await put(call, await createNatively(call, 3 * CHUNK, CHUNK), 0)).status).toBe(503)
  expect((await call('GET', `/v1/uploads/${uploads.complete}/download`)).status).toBe(503)
  expect((await call('DELETE', `/v1/uploads/${deleted}`)).status).toBe(503)
  expect(readdirSync(place)).toEqual([])

  mount('--bind', disk, place)
  expect(await ready(call)).toBe(200)
  await finishUploads(server.url, call, uploads)
  expect(sha256(await download(server.url, `/files/${uploads.complete}`))).toBe(sha256(BYTES))
  expect((await call('GET', `/v1/uploads/${deleted}`)).status).toBe(404)
  await eventually(
    async () => !(await filesIn(place)).some((file) => file.endsWith(deleted)),
    'the bytes of the deleted upload are removed',
  )
})

test('while the data folder is moved away nobody is told that something was stored; then all goes on', async () => {
  const data = path.join(await useFolder(), 'data')
  await mkdir(data)
  const { server, call } = await start(data)
  const uploads = await beginUploads(call)
  await rename(data, `${data}-away`)

  expect(await ready(call)).toBe(503)
  const answers = [
    await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '1' } }),
    await call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 1 } }),
    await patch(call, uploads.tus, CHUNK + 5, BYTES.length),
    await put(call, uploads.native, 0),
    await call('DELETE', `/v1/uploads/${uploads.complete}`),
    await call('GET', `/v1/uploads/${uploads.complete}/download`),
  ]
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 503))
  // A client that is told that there is nothing would begin anew.
  expect(await offsetOf(call, uploads.tus)).toBe(CHUNK + 5)
  expect((await call('GET', '/health')).status).toBe(200)
  expect(existsSync(data)).toBe(false)

  await rename(`${data}-away`, data)
  expect(await ready(call)).toBe(200)
  await finishUploads(server.url, call, uploads)
  expect(sha256(await download(server.url, `/files/${uploads.complete}`))).toBe(sha256(BYTES))
})

test('an unfinished upload whose bytes are gone from the disk fails, and does not complete with a hole', async () => {
  const root = await useFolder()
  const { call } = await start(root)
  const { tus, native } = await beginUploads(call)
  for (const id of [tus, native]) await rm(path.join(root, 'files', id.slice(0, 3), id))
  expect((await patch(call, tus, CHUNK + 5, BYTES.length)).status).toBe(409)
  expect((await call('HEAD', `/files/${tus}`, { headers: TUS })).status).toBe(410)
  expect((await put(call, native, 0)).json).toMatchObject({ error_code: 'conflict' })
  expect((await call('GET', `/v1/uploads/${native}`)).json.status).toBe('FAILED')
})

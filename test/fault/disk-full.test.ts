import { appendFile, rm, writeFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { builtServer, preload } from '../support/built-process.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { download, patchAt, TUS, type Client } from '../support/client.ts'
import { filesIn } from '../support/folder.ts'
import { eventually } from '../support/slow-request.ts'
import { useSmallDisk } from '../support/small-disk.ts'
import { createByTus, createNatively, missingChunks, offsetOf } from '../support/uploading.ts'

const CHUNK = MIB
const SMALL = bytesOf(2 * MIB, 1)
const LARGE = bytesOf(20 * MIB, 2)

const startBuilt = builtServer()

/** A server whose database and files are on one small disk. */
async function start(root: string, env: Record<string, string> = {}) {
  const started = await startBuilt(root, {
    CHUNK_SIZE_BYTES: String(CHUNK),
    MIN_FREE_DISK_BYTES: '0',
    ...env,
  })
  await eventually(() => existsSync(reserveOf(root)), 'the ledger has its reserve')
  return started
}

const reserveOf = (root: string) => path.join(root, 'uploads.db-reserve')

const patch = (call: Client, id: string, bytes: Buffer, from: number, to = bytes.length) =>
  call('PATCH', `/files/${id}`, { headers: patchAt(from), body: bytes.subarray(from, to) })

const put = (call: Client, id: string, bytes: Buffer, index: number) =>
  call('PUT', `/v1/uploads/${id}/chunks/${index}`, {
    body: bytes.subarray(index * CHUNK, (index + 1) * CHUNK),
  })

async function upload(call: Client, bytes: Buffer): Promise<string> {
  const id = await createByTus(call, bytes.length)
  expect((await patch(call, id, bytes, 0)).status).toBe(204)
  return id
}

/** Takes every byte that is left of the disk. */
async function fillUp(file: string): Promise<void> {
  for (const size of [MIB, 4096, 1])
    for (let room = true; room;)
      room = await appendFile(file, Buffer.alloc(size, 1)).then(
        () => true,
        () => false,
      )
}

test('a full disk is 507, nothing acknowledged is lost to it, DELETE makes room, and uploads go on', async (context) => {
  const root = await useSmallDisk(context, '24m')
  const junk = path.join(root, 'junk')
  let { server, call } = await start(root)
  const [first, second] = [await upload(call, SMALL), await upload(call, SMALL)]
  const tus = await createByTus(call, LARGE.length)
  const native = await createNatively(call, LARGE.length, CHUNK)
  expect((await put(call, native, LARGE, 7)).status).toBe(202)

  // In the middle of a PATCH.
  expect((await patch(call, tus, LARGE, 0)).status).toBe(507)
  const offset = await offsetOf(call, tus)
  expect(offset).toBeGreaterThan(10 * MIB)
  expect(offset).toBeLessThan(LARGE.length)
  expect((await put(call, native, LARGE, 8)).json).toMatchObject({ error_code: 'insufficient_storage' })
  await fillUp(junk)
  expect((await patch(call, tus, LARGE, offset, offset + 5000)).status).toBe(507)
  expect((await put(call, native, LARGE, 8)).status).toBe(507)

  // A process that starts on a full disk knows all that was acknowledged, and serves it.
  await server.signal('SIGKILL')
  ;({ server, call } = await start(root))
  expect(await offsetOf(call, tus)).toBe(offset)
  expect(await missingChunks(call, native)).not.toContain(7)
  expect(await missingChunks(call, native)).toContain(8)
  expect(sha256(await download(server.url, `/files/${first}`))).toBe(sha256(SMALL))

  // There is no room for a row, but for a deletion there is.
  await fillUp(junk)
  const rows = await Promise.all(
    Array.from({ length: 30 }, () =>
      call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 1 } }),
    ),
  )
  expect(rows.map(({ status }) => status)).toContain(507)
  expect((await call('DELETE', `/v1/uploads/${first}`)).status).toBe(204)
  await eventually(() => existsSync(reserveOf(root)), 'the reserve is there again')
  await fillUp(junk)
  expect((await call('DELETE', `/files/${second}`, { headers: TUS })).status).toBe(204)
  for (const id of [first, second]) expect((await call('GET', `/v1/uploads/${id}`)).status).toBe(404)

  await rm(junk)
  await call('DELETE', `/v1/uploads/${native}`)
  const resumed = await offsetOf(call, tus)
  expect((await patch(call, tus, LARGE, resumed)).status).toBe(204)
  expect(sha256(await download(server.url, `/files/${tus}`))).toBe(sha256(LARGE))
  expect(await server.signal('SIGTERM')).toBe(0)
})

test('a server that was shut down starts again on a full disk, serves what is there and deletes', async (context) => {
  const root = await useSmallDisk(context, '24m')
  let { server, call } = await start(root)
  const [first, second] = [await upload(call, SMALL), await upload(call, SMALL)]
  await fillUp(path.join(root, 'junk'))
  expect(await server.signal('SIGTERM')).toBe(0)
  await fillUp(path.join(root, 'junk'))
  ;({ server, call } = await start(root))
  expect(sha256(await download(server.url, `/files/${first}`))).toBe(sha256(SMALL))
  expect((await call('DELETE', `/v1/uploads/${second}`)).status).toBe(204)
  expect(await server.signal('SIGTERM')).toBe(0)
})

test('deletions get through on a full disk though clients keep taking every byte that is free', async (context) => {
  const root = await useSmallDisk(context, '32m')
  const { server, call } = await start(root)
  const small: string[] = []
  for (let i = 0; i < 6; i++) small.push(await upload(call, SMALL))
  const greedy = await Promise.all(Array.from({ length: 4 }, () => createByTus(call, LARGE.length)))
  await fillUp(path.join(root, 'junk'))

  let over = false
  const clients = greedy.map(async (id) => {
    let sent = 0
    for (; !over; sent++) await patch(call, id, LARGE, await offsetOf(call, id))
    return sent
  })
  for (const id of small) expect((await call('DELETE', `/v1/uploads/${id}`)).status).toBe(204)
  over = true
  for (const sent of await Promise.all(clients)) expect(sent).toBeGreaterThan(0)
  await fillUp(path.join(root, 'junk'))
  expect(await server.signal('SIGTERM')).toBe(0)
})

test('expired uploads make room on a full disk', async (context) => {
  const root = await useSmallDisk(context, '24m')
  const { server, call } = await start(root)
  const expiring = await createByTus(call, LARGE.length)
  await patch(call, expiring, LARGE, 0, 4 * MIB)
  await fillUp(path.join(root, 'junk'))
  await server.signal('SIGKILL')
  // Its clock is a week ahead: all that is unfinished has expired.
  const later = await start(root, { ...preload('shift-clock.mjs'), CLOCK_AHEAD_SECONDS: '604800' })
  await eventually(
    async () => (await filesIn(path.join(root, 'files'))).length === 0,
    'the reaper removes the expired upload',
  )
  expect((await later.call('GET', `/v1/uploads/${expiring}`)).status).toBe(410)
})

test('a new upload is 507 where it would leave less than MIN_FREE_DISK_BYTES; one under way goes on', async (context) => {
  const root = await useSmallDisk(context, '64m')
  const { call } = await start(root, { MIN_FREE_DISK_BYTES: String(30 * MIB) })
  const id = await createByTus(call, LARGE.length)
  const init = { body: { file_name: 'a', file_size: 40 * MIB } }
  const refused = await call('POST', '/v1/uploads/init', init)
  expect([refused.status, refused.json.error_code]).toEqual([507, 'insufficient_storage'])
  const length = { 'Upload-Length': String(40 * MIB) }
  expect((await call('POST', '/files', { headers: { ...TUS, ...length } })).status).toBe(507)
  await createByTus(call, LARGE.length)

  // Below the floor nothing may begin, whatever its size.
  await writeFile(path.join(root, 'junk'), Buffer.alloc(35 * MIB))
  const deferred = { headers: { ...TUS, 'Upload-Defer-Length': '1' } }
  await eventually(async () => (await call('POST', '/files', deferred)).status === 507, 'creation is refused')
  expect((await patch(call, id, LARGE, 0)).status).toBe(204)

  await rm(path.join(root, 'junk'))
  await eventually(async () => (await call('POST', '/files', deferred)).status === 201, 'there is room again')
})

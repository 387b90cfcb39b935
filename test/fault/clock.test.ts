import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { builtServer, preload } from '../support/built-process.ts'
import { bytesOf, sha256 } from '../support/bytes.ts'
import { download, patchAt, type Client } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'
import { createByTus, createNatively, missingChunks, offsetOf } from '../support/uploading.ts'

const CHUNK = 10_000
const BYTES = bytesOf(3 * CHUNK)
const DAY_SECONDS = 86_400

const startBuilt = builtServer()

/** A server whose clock the test sets, and which looks for expired uploads all the time. */
async function useSettableServer() {
  const root = await useFolder()
  const file = path.join(root, 'ahead')
  const setClock = (aheadSeconds: number) => writeFile(file, String(aheadSeconds))
  await setClock(0)
  const started = await startBuilt(root, {
    ...preload('shift-clock.mjs'),
    CLOCK_AHEAD_FILE: file,
    CHUNK_SIZE_BYTES: String(CHUNK),
    REAP_INTERVAL_SECONDS: '1',
    BODY_IDLE_TIMEOUT_SECONDS: '5',
  })
  return { ...started, setClock }
}

const put = (call: Client, id: string, index: number) =>
  call('PUT', `/v1/uploads/${id}/chunks/${index}`, {
    body: BYTES.subarray(index * CHUNK, (index + 1) * CHUNK),
  })

/** A PATCH of the whole file of which the first bytes are stored. */
async function openPatch(url: string, call: Client, id: string) {
  const patch = slowRequest(url, 'PATCH', `/files/${id}`, {
    ...patchAt(0),
    'Content-Length': String(BYTES.length),
  })
  await patch.send(BYTES.subarray(0, CHUNK + 1))
  await eventually(async () => (await offsetOf(call, id)) === CHUNK, 'the first chunk is stored')
  return patch
}

test.each([
  ['ahead', 10 * DAY_SECONDS],
  ['back', -DAY_SECONDS],
])(
  'a clock that is set %s ends no upload, neither in mid-body nor between two requests',
  async (_way, aheadSeconds) => {
    const { server, call, setClock } = await useSettableServer()
    const [running, resting] = [await createByTus(call, BYTES.length), await createByTus(call, BYTES.length)]
    const native = await createNatively(call, BYTES.length, CHUNK)
    const patch = await openPatch(server.url, call, running)
    await call('PATCH', `/files/${resting}`, { headers: patchAt(0), body: BYTES.subarray(0, 7) })
    await put(call, native, 2)

    await setClock(aheadSeconds)
    // The reaper looks once at least.
    await sleep(1_600)
    expect(await offsetOf(call, resting)).toBe(7)
    expect(await missingChunks(call, native)).toEqual([0, 1])
    await patch.send(BYTES.subarray(CHUNK + 1))
    patch.end()
    expect((await patch.answer).status).toBe(204)
    const more = await call('PATCH', `/files/${resting}`, { headers: patchAt(7), body: BYTES.subarray(7, 8) })
    expect(more.status).toBe(204)

    // And when it is put right again.
    await setClock(0)
    await sleep(1_200)
    const rest = await call('PATCH', `/files/${resting}`, { headers: patchAt(8), body: BYTES.subarray(8) })
    expect(rest.status).toBe(204)
    for (const index of [0, 1]) expect((await put(call, native, index)).status).toBe(202)
    expect((await call('POST', `/v1/uploads/${native}/complete`)).status).toBe(200)
    for (const id of [running, resting, native])
      expect(sha256(await download(server.url, `/files/${id}`))).toBe(sha256(BYTES))
    expect(await server.signal('SIGTERM')).toBe(0)
  },
)

test('a clock that is set neither makes a writer silent nor hides that it is', async () => {
  const { server, call, setClock } = await useSettableServer()
  const id = await createByTus(call, BYTES.length)
  const first = await openPatch(server.url, call, id)
  const again = () =>
    call('PATCH', `/files/${id}`, { headers: patchAt(CHUNK + 1), body: BYTES.subarray(CHUNK + 1) })
  await setClock(DAY_SECONDS)
  expect((await again()).status).toBe(423)
  await setClock(-DAY_SECONDS)
  await sleep(3_000)
  expect((await again()).status).toBe(204)
  first.cut()
  expect(sha256(await download(server.url, `/files/${id}`))).toBe(sha256(BYTES))
})

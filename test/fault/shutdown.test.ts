import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { builtServer } from '../support/built-process.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'
import { createByTus, createNatively, missingChunks, offsetOf } from '../support/uploading.ts'

const CHUNK = MIB
const BYTES = bytesOf(12 * CHUNK + 5)

const startBuilt = builtServer()
const start = (root: string, graceSeconds: number) =>
  startBuilt(root, { CHUNK_SIZE_BYTES: String(CHUNK), SHUTDOWN_GRACE_SECONDS: String(graceSeconds) })

const chunkOf = (index: number) => BYTES.subarray(index * CHUNK, (index + 1) * CHUNK)

test('SIGTERM under load: chunks under way are answered, the next are refused, and clients go on with the next process', async () => {
  const root = await useFolder()
  const first = await start(root, 20)
  const ids = await Promise.all(
    Array.from({ length: 4 }, () => createNatively(first.call, BYTES.length, CHUNK)),
  )
  const tus = await createByTus(first.call, BYTES.length)

  // Half of each of these is there when the signal comes, and the rest comes after it.
  const length = { 'Content-Length': String(CHUNK) }
  const open = ids.map((id) => slowRequest(first.server.url, 'PUT', `/v1/uploads/${id}/chunks/3`, length))
  const patch = slowRequest(first.server.url, 'PATCH', `/files/${tus}`, { ...patchAt(0), ...length })
  await Promise.all([...open, patch].map((request) => request.send(chunkOf(0).subarray(0, CHUNK / 2))))
  await eventually(
    async () => /^inflight_chunks 5$/m.test((await first.call('GET', '/metrics')).text),
    'five bodies are open',
  )
  const told = new Map(ids.map((id) => [id, new Set<number>()]))
  const loads = ids.map(async (id) => {
    for (const index of [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]) {
      const put = first.call('PUT', `/v1/uploads/${id}/chunks/${index}`, { body: chunkOf(index) })
      const status = await put.then(
        (answer) => answer.status,
        () => null,
      )
      if (status !== 202) return status
      told.get(id)?.add(index)
    }
    return null
  })
  await eventually(() => [...told.values()].some(({ size }) => size > 1), 'chunks are coming in')
  const exited = once(first.server.child, 'exit')
  first.server.child.kill('SIGTERM')
  for (const request of [...open, patch]) {
    await request.send(chunkOf(0).subarray(CHUNK / 2))
    request.end()
  }
  expect((await patch.answer).status).toBe(204)
  for (const request of open) expect((await request.answer).status).toBe(202)
  // Refused, or not even let in.
  for (const status of await Promise.all(loads)) expect([null, 503]).toContain(status)
  expect(await exited).toEqual([0, null])

  const next = await start(root, 20)
  expect(await offsetOf(next.call, tus)).toBe(CHUNK)
  for (const id of ids) {
    const missing = await missingChunks(next.call, id)
    expect(missing).not.toContain(3)
    for (const index of told.get(id) ?? []) expect(missing).not.toContain(index)
  }
})

test('SIGTERM ends bodies that outlast the grace, keeps what a PATCH brought, and the process is gone', async () => {
  const root = await useFolder()
  const first = await start(root, 2)
  const [tus, native] = [
    await createByTus(first.call, BYTES.length),
    await createNatively(first.call, BYTES.length, CHUNK),
  ]
  const length = { 'Content-Length': String(CHUNK) }
  const requests = [
    slowRequest(first.server.url, 'PATCH', `/files/${tus}`, { ...patchAt(0), ...length }),
    slowRequest(first.server.url, 'PUT', `/v1/uploads/${native}/chunks/0`, length),
  ]
  let trickling = true
  let sent = 0
  const trickle = (async () => {
    for (; trickling; sent++) {
      await Promise.all(requests.map((request) => request.send(BYTES.subarray(sent, sent + 1))))
      await sleep(50)
    }
  })()
  await eventually(() => sent > 5, 'the bodies are under way')
  const before = sent
  const exited = once(first.server.child, 'exit')
  first.server.child.kill('SIGTERM')
  const answers = await Promise.all(requests.map(({ answer }) => answer))
  trickling = false
  expect(answers.map(({ status }) => status)).toEqual([503, 503])
  expect(await exited).toEqual([0, null])
  for (const request of requests) request.cut()
  await trickle

  const next = await start(root, 2)
  const offset = await offsetOf(next.call, tus)
  expect(offset).toBeGreaterThanOrEqual(before)
  expect(await missingChunks(next.call, native)).toContain(0)
  const rest = { headers: patchAt(offset), body: BYTES.subarray(offset) }
  expect((await clientOf(next.server.url)('PATCH', `/files/${tus}`, rest)).status).toBe(204)
  expect(sha256(await download(next.server.url, `/files/${tus}`))).toBe(sha256(BYTES))
})

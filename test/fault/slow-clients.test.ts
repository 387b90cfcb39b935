import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { sharedServer } from '../support/built-process.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { download, patchAt, TUS } from '../support/client.ts'
import { memoryOf, needsProc, openFilesOf } from '../support/proc.ts'
import { startProxy } from '../support/proxy.ts'
import { ALICE } from '../support/server.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'
import { createByTus, createNatively, offsetOf } from '../support/uploading.ts'

/** How long a body trickles; TRICKLE_SECONDS=600 for longer than any timeout that a server usually has. */
const TRICKLE_SECONDS = Number(process.env['TRICKLE_SECONDS'] ?? 20)
/** Of the server: a quarter of that, or less. */
const TIMEOUT_SECONDS = 5
const LIMIT_MS = (TRICKLE_SECONDS + 60) * 1000

const shared = sharedServer({
  CHUNK_SIZE_BYTES: String(MIB),
  HEADER_TIMEOUT_SECONDS: String(TIMEOUT_SECONDS),
  BODY_IDLE_TIMEOUT_SECONDS: String(TIMEOUT_SECONDS),
})

/** A connection on which the test writes what it likes. */
async function openSocket(
  url: string,
): Promise<{ socket: Socket; told: () => string; closed: Promise<void> }> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let told = ''
  socket.on('data', (bytes) => (told += bytes.toString('latin1'))).on('error', () => {})
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  await once(socket, 'connect')
  return { socket, told: () => told, closed }
}

describe.concurrent('a client that is slow', () => {
  test(
    `sends a byte a second for ${TRICKLE_SECONDS} seconds, by PATCH and as a chunk, and both are stored`,
    async () => {
      const { server, call } = shared()
      const bytes = bytesOf(TRICKLE_SECONDS, 5)
      const [tus, native] = [
        await createByTus(call, bytes.length),
        await createNatively(call, bytes.length, MIB),
      ]
      const length = { 'Content-Length': String(bytes.length) }
      const requests = [
        slowRequest(server.url, 'PATCH', `/files/${tus}`, { ...patchAt(0), ...length }),
        slowRequest(server.url, 'PUT', `/v1/uploads/${native}/chunks/0`, length),
      ]
      for (const byte of bytes) {
        await Promise.all(requests.map((request) => request.send(Buffer.of(byte))))
        await sleep(1_000)
      }
      const answers = await Promise.all(requests.map(({ answer }) => answer))
      expect(answers.map(({ status }) => status)).toEqual([204, 202])
      expect(await offsetOf(call, tus)).toBe(bytes.length)
      expect((await call('POST', `/v1/uploads/${native}/complete`)).status).toBe(200)
      for (const id of [tus, native])
        expect(sha256(await download(server.url, `/files/${id}`))).toBe(sha256(bytes))
    },
    LIMIT_MS,
  )

  test('with its head is told 408 and cut off, however steadily it sends; so is one that sends nothing', async () => {
    const { server } = shared()
    const [head, nothing] = [await openSocket(server.url), await openSocket(server.url)]
    head.socket.write('PATCH /files/x HTTP/1.1\r\nHost: a\r\n')
    const sending = setInterval(() => head.socket.write('X-A: b\r\n'), 200)
    await Promise.all([head.closed, nothing.closed])
    clearInterval(sending)
    expect(head.told()).toMatch(/^HTTP\/1\.1 408 /)
  })

  test('falls silent in mid-body and is cut off; what a PATCH brought counts, and of a chunk nothing', async () => {
    const { server, call } = shared()
    const bytes = bytesOf(1000)
    const [tus, native] = [
      await createByTus(call, bytes.length),
      await createNatively(call, bytes.length, MIB),
    ]
    const length = { 'Content-Length': String(bytes.length) }
    const patch = slowRequest(server.url, 'PATCH', `/files/${tus}`, { ...patchAt(0), ...length })
    const put = slowRequest(server.url, 'PUT', `/v1/uploads/${native}/chunks/0`, length)
    await Promise.all([patch.send(bytes.subarray(0, 600)), put.send(bytes.subarray(0, 600))])
    await Promise.all([expect(patch.answer).rejects.toThrow(), expect(put.answer).rejects.toThrow()])
    await eventually(async () => (await offsetOf(call, tus)) === 600, 'what arrived counts')
    expect((await call('GET', `/v1/uploads/${native}`)).json).toMatchObject({
      status: 'INITIATED',
      offset: 0,
    })
  })
})

describe.concurrent('a client whose network is gone without a word', () => {
  test('gives way to itself after three seconds, when it comes back by another connection', async () => {
    const { server, call } = shared()
    const bytes = bytesOf(3 * MIB)
    const id = await createByTus(call, bytes.length)
    const proxy = await startProxy(server.url)
    const patch = slowRequest(proxy.url, 'PATCH', `/files/${id}`, {
      ...patchAt(0),
      'Content-Length': String(bytes.length),
    })
    await patch.send(bytes.subarray(0, MIB + 10))
    await eventually(async () => (await offsetOf(call, id)) === MIB, 'the first chunk is stored')
    proxy.silence()

    const goOn = async () => {
      const offset = await offsetOf(call, id)
      return call('PATCH', `/files/${id}`, { headers: patchAt(offset), body: bytes.subarray(offset) })
    }
    const statuses: number[] = []
    await eventually(async () => {
      statuses.push((await goOn()).status)
      return statuses.at(-1) === 204
    }, 'it takes over')
    // The offset that it knew was that of the last chunk: what came since counts as well. Some clients give up on 409.
    for (const status of statuses.slice(0, -1)) expect(status).toBe(423)
    expect(sha256(await download(server.url, `/files/${id}`))).toBe(sha256(bytes))
    patch.cut()
    await proxy.close()
  })

  test('is given up, its bytes kept, and its place at the gate given to others', async () => {
    const { server, call } = shared()
    const id = await createByTus(call, 3 * MIB)
    const proxy = await startProxy(server.url)
    const patch = slowRequest(proxy.url, 'PATCH', `/files/${id}`, {
      ...patchAt(0),
      'Content-Length': String(3 * MIB),
    })
    await patch.send(bytesOf(MIB + 10))
    await eventually(async () => (await offsetOf(call, id)) === MIB, 'the first chunk is stored')
    proxy.silence()
    await eventually(async () => (await offsetOf(call, id)) === MIB + 10, 'the body is ended', 20_000)
    patch.cut()
    await proxy.close()
  })
})

test.concurrent('clients that never read their downloads cost a bounded share of memory, and are cut off with their files closed', async (context) => {
  needsProc(context)
  const { server, call } = shared()
  const bytes = bytesOf(48 * MIB)
  const id = await createByTus(call, bytes.length)
  await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: bytes })
  const before = memoryOf(server.child.pid)
  const reading = async () => (await openFilesOf(server.child.pid)).filter((file) => file.endsWith(id)).length

  const clients = await Promise.all(Array.from({ length: 30 }, () => openSocket(server.url)))
  const begun = clients.map(({ socket }) => {
    socket.write(`GET /files/${id} HTTP/1.1\r\nHost: a\r\nX-API-Key: ${ALICE}\r\n\r\n`)
    // They share a handle, so that each tells by its first bytes that it is read for.
    return once(socket, 'data').then(() => socket.pause())
  })
  await Promise.all(begun)
  expect(await reading()).toBeGreaterThan(0)
  expect((await call('HEAD', `/files/${id}`, { headers: TUS })).status).toBe(200)
  // Each holds a piece or two of 1 MiB, and what the kernel's buffers hold is none of ours.
  expect(memoryOf(server.child.pid) - before).toBeLessThan(30 * 4 * MIB)
  await eventually(async () => (await reading()) === 0, 'all are given up', 20_000)
  for (const { socket } of clients) socket.resume()
  await Promise.all(clients.map(({ closed }) => closed))
})

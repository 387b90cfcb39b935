import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import { expect, onTestFinished, test, type TestContext } from 'vitest'
import { builtServer } from '../support/built-process.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { download, patchAt, type Client } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { memoryOf, needsProc, openFilesOf } from '../support/proc.ts'
import { ALICE } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'
import { createByTus, createNatively } from '../support/uploading.ts'

const BYTES = bytesOf(3 * MIB)

const startBuilt = builtServer()

/** Connections that send `bytes` and nothing more. Those that were closed at once are among them. */
async function crowd(url: string, count: number, bytes = ''): Promise<Socket[]> {
  const { hostname, port } = new URL(url)
  const sockets: Socket[] = []
  for (let done = 0; done < count; done += 100) {
    const some = Array.from({ length: Math.min(100, count - done) }, () => connect(Number(port), hostname))
    sockets.push(...some)
    await Promise.all(some.map(settled))
    for (const socket of some) socket.write(bytes)
  }
  onTestFinished(() => sockets.forEach((socket) => socket.destroy()))
  return sockets
}

const settled = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket
      .on('error', () => {})
      .once('connect', resolve)
      .once('close', resolve)
      .resume()
  })

/** A file goes up by each dialect and comes down again. */
async function transfer(url: string, call: Client): Promise<void> {
  const tus = await createByTus(call, BYTES.length)
  expect((await call('PATCH', `/files/${tus}`, { headers: patchAt(0), body: BYTES })).status).toBe(204)
  const native = await createNatively(call, BYTES.length, BYTES.length)
  expect((await call('PUT', `/v1/uploads/${native}/chunks/0`, { body: BYTES })).status).toBe(202)
  expect((await call('POST', `/v1/uploads/${native}/complete`)).status).toBe(200)
  for (const id of [tus, native]) expect(sha256(await download(url, `/files/${id}`))).toBe(sha256(BYTES))
}

test('a thousand idle connections and a thousand half-sent heads cost little memory and keep nobody else from the server', async (context) => {
  needsProc(context)
  const { server, call } = await startBuilt(await useFolder(), { HEADER_TIMEOUT_SECONDS: '5' })
  await transfer(server.url, call)
  const before = memoryOf(server.child.pid)
  const idle = await crowd(server.url, 1000)
  const half = await crowd(
    server.url,
    1000,
    `POST /files HTTP/1.1\r\nHost: a\r\nX-Filler: ${'x'.repeat(4000)}`,
  )
  await transfer(server.url, call)
  expect(memoryOf(server.child.pid) - before).toBeLessThan(100 * MIB)
  await eventually(() => [...idle, ...half].every(({ closed }) => closed), 'all of them are cut off', 30_000)
  await transfer(server.url, call)
})

test('clients that want all handles of the process are refused before it has none for files; who is there is served', async (context) => {
  needsPrlimit(context)
  const { server, call } = await startBuilt(await useFolder(), {}, ['prlimit', '--nofile=164:164'])
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  onTestFinished(() => agent.destroy())
  const ask = askThrough(agent, server.url)
  const id = await createByTus(call, BYTES.length)
  expect((await ask('GET', `/v1/uploads/${id}`)).statusCode).toBe(200)

  // Half of the 100 handles that are not the server's own are for connections.
  const wanting = await crowd(server.url, 300)
  await eventually(() => wanting.filter(({ closed }) => closed).length >= 250, 'most are refused')
  expect((await ask('PATCH', `/files/${id}`, patchAt(0), BYTES)).statusCode).toBe(204)
  for (const socket of wanting) socket.destroy()
  await eventually(() => succeeds(transfer(server.url, call)), 'there are handles again')
})

test('a server that has no handle left refuses writes with 503, and goes on when there are some', async (context) => {
  needsProc(context)
  needsPrlimit(context)
  const { server, call } = await startBuilt(await useFolder())
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  onTestFinished(() => agent.destroy())
  const ask = askThrough(agent, server.url)
  // Small, so that a refusal leaves the connection open.
  const id = await createNatively(call, 10, 10)
  const put = () => ask('PUT', `/v1/uploads/${id}/chunks/0`, {}, BYTES.subarray(0, 10))
  expect((await ask('GET', `/v1/uploads/${id}`)).statusCode).toBe(200)

  const handles = (await openFilesOf(server.child.pid)).length + 20
  prlimit('--pid', String(server.child.pid), `--nofile=${handles}:${handles}`)
  const wanting: Socket[] = []
  // A handle that something else gives back may be had by the next write.
  await eventually(async () => {
    wanting.push(...(await crowd(server.url, 40)))
    return (await put()).statusCode === 503
  }, 'a write is refused')
  // What needs no handle is served as before.
  expect((await ask('GET', `/v1/uploads/${id}`)).statusCode).toBe(200)

  for (const socket of wanting) socket.destroy()
  await eventually(() => succeeds(transfer(server.url, call)), 'there are handles again')
  expect(server.child.exitCode).toBeNull()
})

const succeeds = (work: Promise<void>): Promise<boolean> =>
  work.then(
    () => true,
    () => false,
  )

/** Requests one after the other, on the one connection of an agent. Node's client leaves one after HEAD. */
const askThrough =
  (agent: Agent, url: string) =>
  async (method: string, path: string, headers: Record<string, string> = {}, body?: Uint8Array) => {
    const req = request(url + path, { agent, method, headers: { 'X-API-Key': ALICE, ...headers } })
    req.end(body)
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    res.resume()
    await once(res, 'end')
    return res
  }

const prlimit = (...args: string[]): void => void execFileSync('prlimit', args, { stdio: 'pipe' })

function needsPrlimit({ skip }: TestContext): void {
  try {
    prlimit('--version')
  } catch (error) {
    skip(`the handles of a process can not be limited: ${(error as Error).message.trim()}`)
  }
}

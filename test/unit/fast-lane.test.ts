import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { answerEarly } from '../../src/http/early.ts'
import { watchHandedBack } from '../../src/http/idle-connections.ts'
import { openLaneBody } from '../../src/http/lane-body.ts'
import { createRingBuffers } from '../../src/http/ring.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { laneOptions } from '../support/lane.ts'

interface Seen {
  url: string
  bytes: number
  sha256: string
  cause: string | null
}

interface Rig {
  port: number
  seen: Seen[]
  /** which way the bodies took */
  ways: string[]
  close(): Promise<void>
  /** connections that the server counts */
  connections(): Promise<number>
}

/** A server that reads bodies and answers with their SHA-256; what the URL says may make it do otherwise. */
async function start(buffers = createRingBuffers()): Promise<Rig> {
  const seen: Seen[] = []
  const ways: string[] = []
  const server = createServer((req, res) => void answer(req, res))
  const handedBack = watchHandedBack(server)
  const options = laneOptions({ buffers, onWay: (way) => ways.push(way), onHandBack: handedBack.add })

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = req.url ?? ''
    const body = openLaneBody(req, res, options)
    const hash = createHash('sha256')
    let bytes = 0
    for (let batch = await body.take(MIB); batch; batch = await body.take(MIB)) {
      for (const piece of batch) {
        hash.update(piece)
        bytes += piece.length
      }
      if (url === '/slow') await sleep(1)
      if (url === '/refuse') {
        body.stop(new Error('enough'))
        answerEarly(req, res)
        res.writeHead(423).end('refused')
        break
      }
    }
    seen.push({ url, bytes, sha256: hash.digest('hex'), cause: body.cause?.message ?? null })
    if (!res.headersSent && !res.destroyed) res.end(seen.at(-1)?.sha256)
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    port: (server.address() as AddressInfo).port,
    seen,
    ways,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeIdleConnections()
      handedBack.close()
      await closed
    },
    connections: () =>
      new Promise((resolve, reject) =>
        server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
      ),
  }
}

interface Client {
  socket: Socket
  told(): string
  closed: Promise<unknown>
}

async function dial({ port }: Rig): Promise<Client> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  let told = ''
  socket.setEncoding('latin1').on('data', (text) => (told += text))
  socket.on('error', () => {})
  const closed = new Promise((resolve) => socket.once('close', resolve))
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return { socket, told: () => told, closed }
}

const request = (length: number, url = '/', ...headers: string[]) =>
  Buffer.from(
    `${[`PUT ${url} HTTP/1.1`, 'Host: a', `Content-Length: ${length}`, ...headers].join('\r\n')}\r\n\r\n`,
  )

async function until(check: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !check(); tries++) {
    if (tries > 2000) throw new Error(`never came true: ${what}`)
    await sleep(5)
  }
}

const answers = (told: string) => told.split('HTTP/1.1 200').length - 1

test('a hundred bodies, one after another on one connection, go by the lane and arrive whole', async () => {
  const rig = await start()
  const { socket, told } = await dial(rig)
  for (let i = 1; i <= 100; i++) {
    const bytes = bytesOf(300_000 + i, i)
    socket.write(request(bytes.length))
    socket.write(bytes)
    await until(() => answers(told()) === i, `answer ${i}`)
    expect(told().endsWith(sha256(bytes))).toBe(true)
  }
  expect(rig.ways.filter((way) => way === 'lane').length).toBeGreaterThan(50)
  expect(await rig.connections()).toBe(1)
})

test('the request may be cut at any byte of its head and of its body', async () => {
  const rig = await start()
  const bytes = bytesOf(120)
  const whole = Buffer.concat([request(bytes.length), bytes])
  const { socket, told } = await dial(rig)
  for (let cut = 1; cut < whole.length; cut++) {
    socket.write(whole.subarray(0, cut))
    for (let i = 0; i < 4; i++) await setImmediate()
    socket.write(whole.subarray(cut))
    await until(() => answers(told()) === cut, `the answer to a request that is cut at ${cut}`)
  }
  expect(new Set(rig.seen.map((each) => each.sha256))).toEqual(new Set([sha256(bytes)]))
  expect(rig.ways).toContain('lane')
})

test('requests that come right behind a body are answered in their order', async () => {
  const rig = await start()
  const bodies = [bytesOf(2 * MIB, 1), bytesOf(3 * MIB + 1, 2), bytesOf(10, 3), bytesOf(MIB, 4)]
  const { socket, told } = await dial(rig)
  socket.write(Buffer.concat(bodies.flatMap((bytes, i) => [request(bytes.length, `/${i}`), bytes])))
  await until(() => answers(told()) === bodies.length, 'every request is answered')
  expect(rig.seen.map(({ url, sha256: told256 }) => [url, told256])).toEqual(
    bodies.map((bytes, i) => [`/${i}`, sha256(bytes)]),
  )
  expect(told().match(/[0-9a-f]{64}/g)).toEqual(bodies.map((bytes) => sha256(bytes)))
})

test('bytes behind the body that are no request are refused as such, and the body counts', async () => {
  const rig = await start()
  const bytes = bytesOf(MIB)
  const { socket, told, closed } = await dial(rig)
  socket.write(Buffer.concat([request(bytes.length), bytes, Buffer.from('more than was told\r\n\r\n')]))
  await closed
  expect(told()).toContain(sha256(bytes))
  expect(told()).toContain('HTTP/1.1 400')
})

test.each(['destroy', 'end'] as const)(
  'a client that goes away by %s breaks its body, and nobody else’s',
  async (how) => {
    const rig = await start()
    const bytes = bytesOf(2 * MIB)
    const [leaving, staying] = [await dial(rig), await dial(rig)]
    for (const { socket } of [leaving, staying]) {
      socket.write(request(bytes.length))
      socket.write(bytes.subarray(0, MIB))
    }
    await until(() => rig.ways.length === 2, 'both bodies are read')
    await sleep(20)
    leaving.socket[how]()
    await until(() => rig.seen.length === 1, 'the body is over')
    expect(rig.seen[0]).toMatchObject({ bytes: MIB, cause: 'The body broke off.' })
    staying.socket.write(bytes.subarray(MIB))
    await until(() => answers(staying.told()) === 1, 'the other is answered')
    expect(staying.told()).toContain(sha256(bytes))
  },
)

test('a refusal in the middle of a body reaches a client that goes on sending', async () => {
  const rig = await start()
  const { socket, told, closed } = await dial(rig)
  socket.write(request(64 * MIB, '/refuse'))
  const feeding = setInterval(() => socket.writable && socket.write(Buffer.alloc(MIB)), 5)
  onTestFinished(() => clearInterval(feeding))
  await closed
  expect(told()).toMatch(/^HTTP\/1\.1 423 [^]*Connection: close[^]*refused/)
})

test('a reader that is slower than its client loses nothing', async () => {
  const rig = await start()
  const bytes = bytesOf(20 * MIB)
  const { socket, told } = await dial(rig)
  socket.write(request(bytes.length, '/slow'))
  socket.write(bytes)
  await until(() => answers(told()) === 1, 'it is answered')
  expect(told()).toContain(sha256(bytes))
})

test('a connection that is idle behind the lane goes with the server', async () => {
  const rig = await start()
  const bytes = bytesOf(MIB)
  const { socket, told, closed } = await dial(rig)
  socket.write(request(bytes.length))
  socket.write(bytes)
  await until(() => answers(told()) === 1, 'it is answered')
  expect(rig.ways).toEqual(['lane'])
  await sleep(20)
  await rig.close()
  await closed
})

test('a client that says Connection: close gets its answer, and the end', async () => {
  const rig = await start()
  const bytes = bytesOf(MIB)
  const { socket, told, closed } = await dial(rig)
  socket.write(request(bytes.length, '/', 'Connection: close'))
  socket.write(bytes)
  await closed
  expect(told()).toContain(sha256(bytes))
  expect(rig.ways).toEqual(['lane'])
})

test('chunked bodies and HTTP/1.0 stay with the parser', async () => {
  const rig = await start()
  const chunked = await dial(rig)
  chunked.socket.write('PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n')
  await until(() => answers(chunked.told()) === 1, 'the chunked one is answered')
  const old = await dial(rig)
  old.socket.write('PUT / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc')
  await old.closed
  expect(rig.ways).toEqual(['parser', 'parser'])
  expect(rig.seen.map(({ bytes }) => bytes)).toEqual([3, 3])
})

test('a body passes small rings, too, byte for byte, also where it is taken slowly', async () => {
  const rig = await start(createRingBuffers([{ most: 2, halfBytes: 64 * 1024 }]))
  const bytes = bytesOf(3 * MIB + 17)
  for (const url of ['/', '/slow']) {
    const { socket, told } = await dial(rig)
    socket.write(Buffer.concat([request(bytes.length, url), bytes]))
    await until(() => answers(told()) === 1, 'it is answered')
    expect(told()).toContain(sha256(bytes))
  }
  expect(rig.ways).toEqual(['lane', 'lane'])
})

test('more bodies at once than there are buffers go by the parser, and by the lane again later', async () => {
  const rig = await start(createRingBuffers([{ most: 2, halfBytes: 1024 * 1024 }]))
  const bytes = bytesOf(2 * MIB)
  for (const round of [1, 2, 3]) {
    const clients = await Promise.all([1, 2, 3].map(() => dial(rig)))
    for (const { socket } of clients) {
      socket.write(request(bytes.length))
      socket.write(bytes.subarray(0, MIB))
    }
    await until(() => rig.ways.length === 3 * round, 'every body is read')
    expect(rig.ways.slice(-3).toSorted()).toEqual(['lane', 'lane', 'parser'])
    // One leaves in the middle, one ends its connection, one keeps it.
    const [leaving, ...staying] = clients
    leaving?.socket.destroy()
    for (const { socket } of staying) socket.write(bytes.subarray(MIB))
    await until(() => staying.every(({ told }) => answers(told()) === 1), 'the others are answered')
    for (const { told } of staying) expect(told()).toContain(sha256(bytes))
    staying[0]?.socket.end()
    await until(() => rig.seen.length === 3 * round, 'all are over')
    await sleep(20)
  }
})

import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { HttpError } from '../../src/core/errors.ts'
import type { Body } from '../../src/core/ports/body.ts'
import { openBody } from '../../src/http/body.ts'
import { openLaneBody } from '../../src/http/lane-body.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { laneOptions } from '../support/lane.ts'

const SILENCE_MS = 60_000
/** What may be in our hands of a body that nobody takes: a batch, and what node and its socket hold. */
const HELD_BYTES = 3 * MIB
/** The same before the first `take`, when there is no batch. */
const UNREAD_BYTES = MIB

interface Exchange {
  client: Socket
  /** what the client was told so far */
  told(): string
  req: IncomingMessage
  res: ServerResponse
  body: Body
}

const head = (...headers: string[]) => `${['PUT /a HTTP/1.1', 'Host: a', ...headers].join('\r\n')}\r\n\r\n`
const CHUNKED = 'Transfer-Encoding: chunked'
const lengthOf = (bytes: number) => `Content-Length: ${bytes}`

type Open = (req: IncomingMessage, res: ServerResponse) => Body

/** The two ways of reading one: both do all of this. */
const WAYS: readonly (readonly [way: string, open: Open])[] = [
  ['by the parser', (req, res) => openBody(req, res, { idleTimeoutMs: SILENCE_MS })],
  ['by the fast lane', (req, res) => openLaneBody(req, res, laneOptions({ idleTimeoutMs: SILENCE_MS }))],
]
let open = WAYS[0]?.[1] as Open

/** Whether the socket is not read. */
const isHeldBack = (req: IncomingMessage): boolean =>
  req.isPaused() || !(req.socket as unknown as { _handle: { reading: boolean } })._handle.reading

/** A request over a raw socket to a real server, at the moment when the server has seen its head. */
async function send(...pieces: (string | Uint8Array)[]): Promise<Exchange> {
  const server = createServer({ highWaterMark: 256 * 1024 })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' })
  let told = ''
  client.setEncoding('latin1').on('data', (text) => (told += text))
  // The server may cut the connection; what the client was told is all that counts.
  client.on('error', () => {})
  onTestFinished(() => {
    client.destroy()
    server.closeAllConnections()
    server.close()
  })
  const seen = new Promise<[IncomingMessage, ServerResponse]>((resolve) => {
    const answer = (req: IncomingMessage, res: ServerResponse) => resolve([req, res])
    server.on('request', answer).on('checkContinue', answer)
  })
  client.write(Buffer.concat(pieces.map((piece) => Buffer.from(piece as Uint8Array))))
  const [req, res] = await seen
  return { client, told: () => told, req, res, body: open(req, res) }
}

const takeText = async (body: Body, maxBytes: number): Promise<string | null> => {
  const batch = await body.take(maxBytes)
  return batch && Buffer.concat(batch).toString('latin1')
}

/** Everything until the end. */
async function takeAll(body: Body, maxBytes = MIB): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for (let batch = await body.take(maxBytes); batch; batch = await body.take(maxBytes))
    pieces.push(Buffer.concat(batch))
  return Buffer.concat(pieces)
}

const sizeOf = (batch: Uint8Array[] | null) => batch?.reduce((sum, { length }) => sum + length, 0)

/** Waits for something that the network does; fake timers don't stop it. */
async function until(check: () => boolean, what: string): Promise<void> {
  const start = performance.now()
  while (!check()) {
    if (performance.now() - start > 10_000) throw new Error(`never came true: ${what}`)
    await setImmediate()
  }
}

/** Waits until a number rests. @returns it */
async function rest(value: () => number): Promise<number> {
  let last = value()
  for (let same = 0; same < 20; same++) {
    await sleep(5)
    if (value() !== last) same = 0
    last = value()
  }
  return last
}

/** A promise that a test can look at without waiting for it. */
function watch<T>(promise: Promise<T>) {
  const watched = { value: undefined as T | undefined, kept: false }
  void promise.then((value) => Object.assign(watched, { value, kept: true }))
  return watched
}

describe.each(WAYS)('a body that is read %s', (_way, opener) => {
  beforeEach(() => {
    open = opener
  })

  describe('take', () => {
    it('gives exactly as many bytes as are asked for, as long as there are so many', async () => {
      const { body } = await send(head(lengthOf(10)), 'abcdefghij')
      expect(await takeText(body, 1)).toBe('a')
      expect(await takeText(body, 4)).toBe('bcde')
      expect(await takeText(body, 5)).toBe('fghij')
      expect(await takeText(body, 5)).toBeNull()
    })

    it('gives what is there, and does not wait for as much as is asked for', async () => {
      const { body, client } = await send(head(lengthOf(7)), 'abc')
      expect(await takeText(body, 1000)).toBe('abc')
      client.write('defg')
      expect(await takeText(body, 1000)).toBe('defg')
    })

    it('waits for a byte', async () => {
      const { body, client } = await send(head(lengthOf(1)))
      const batch = watch(body.take(10))
      await setImmediate()
      expect(batch.kept).toBe(false)
      client.write('a')
      await until(() => batch.kept, 'the byte is there')
      expect(sizeOf(batch.value ?? null)).toBe(1)
    })

    it.each([1000, 65_536, 99_991, MIB])(
      'in portions of %i at most loses no byte and no order',
      async (max) => {
        const bytes = bytesOf(3 * MIB + 17)
        const { body } = await send(head(lengthOf(bytes.length)), bytes)
        const taken: Uint8Array[] = []
        for (let batch = await body.take(max); batch; batch = await body.take(max)) {
          const size = sizeOf(batch) ?? 0
          if (size < 1 || size > max) expect.fail(`a batch of ${size}`)
          taken.push(...batch.map((piece) => Buffer.from(piece)))
        }
        expect(sha256(Buffer.concat(taken))).toBe(sha256(bytes))
        expect(body.cause).toBeNull()
      },
    )

    it('gives much at once of what gathered while nobody took', async () => {
      const { body, req } = await send(head(lengthOf(8 * MIB)), bytesOf(8 * MIB))
      await body.take(1)
      await until(() => isHeldBack(req), 'the client is held back')
      const batch = await body.take(MIB)
      // Less the byte that was taken, where a batch never goes past the end of a buffer.
      expect(sizeOf(batch)).toBeGreaterThanOrEqual(MIB / 4 - 1)
    })

    it('reads on while what was taken is being written', async () => {
      const { body, req } = await send(head(lengthOf(8 * MIB)), bytesOf(8 * MIB))
      await body.take(1)
      await until(() => isHeldBack(req), 'the client is held back')
      await body.take(MIB)
      await rest(() => req.socket.bytesRead)
      expect(sizeOf(await body.take(MIB))).toBeGreaterThanOrEqual(MIB / 4)
    })

    it('unpacks a chunked body', async () => {
      const { body } = await send(head(CHUNKED), '3\r\nabc\r\n', '4;x=y\r\ndefg\r\n', '0\r\n\r\n')
      expect((await takeAll(body)).toString()).toBe('abcdefg')
      expect(body.cause).toBeNull()
    })
  })

  describe('length', () => {
    it.each([
      ['Content-Length', [lengthOf(12)], 12],
      ['no body', [], 0],
      ['chunks', [CHUNKED], null],
    ])('by %s is %j', async (_what, headers, length) => {
      const { body } = await send(head(...headers))
      expect(body.length).toBe(length)
    })
  })

  describe('a client that pushes 50 MiB', () => {
    const bytes = Buffer.alloc(50 * MIB, 'x')

    it('is held back before the first take, and gets rid of all of it afterwards', async () => {
      const { body, req } = await send(head(lengthOf(bytes.length)), bytes)
      expect(await rest(() => req.socket.bytesRead)).toBeLessThan(UNREAD_BYTES)
      let taken = 0
      for (let batch = await body.take(MIB); batch; batch = await body.take(MIB)) taken += sizeOf(batch) ?? 0
      expect(taken).toBe(bytes.length)
    })

    it('is held back whenever nobody takes', async () => {
      const { body, req } = await send(head(lengthOf(bytes.length)), bytes)
      for (let taken = 0; taken < 5 * MIB;) {
        taken += sizeOf(await body.take(MIB)) ?? 0
        if (taken > 4 * MIB) expect(await rest(() => req.socket.bytesRead)).toBeLessThan(taken + HELD_BYTES)
      }
    })

    it('is held back sooner while its share of what all may gather is small', async () => {
      const { req, res } = await send(head(lengthOf(bytes.length)), bytes)
      let shareBytes = MIB / 16
      const body = openBody(req, res, { idleTimeoutMs: SILENCE_MS, shareBytes: () => shareBytes })
      await body.take(1)
      await until(() => req.isPaused(), 'the client is held back')
      // What came last may go beyond it.
      expect(sizeOf(await body.take(MIB))).toBeLessThan(MIB / 2)
      shareBytes = 8 * MIB
      await body.take(1)
      await until(() => req.isPaused(), 'the client is held back')
      expect(sizeOf(await body.take(MIB))).toBe(MIB)
      for (let batch = await body.take(MIB); batch; batch = await body.take(MIB));
      expect(body.cause).toBeNull()
    })

    it('is held back once it is stopped', async () => {
      const { body, req } = await send(head(lengthOf(bytes.length)), bytes)
      await body.take(MIB)
      const read = req.socket.bytesRead
      body.stop(new Error('enough'))
      expect(await rest(() => req.socket.bytesRead)).toBeLessThan(read + HELD_BYTES)
    })
  })

  describe('the end', () => {
    it.each([
      ['its Content-Length', [head(lengthOf(3)), 'abc'], 'abc'],
      ['its last chunk', [head(CHUNKED), '3\r\nabc\r\n0\r\n\r\n'], 'abc'],
      ['a Content-Length of 0', [head(lengthOf(0))], ''],
      ['a head without a body', [head()], ''],
      ['no chunk but the last', [head(CHUNKED), '0\r\n\r\n'], ''],
    ])('comes with %s, is told again and again, and has no cause', async (_what, pieces, text) => {
      const { body } = await send(...pieces)
      expect((await takeAll(body)).toString()).toBe(text)
      expect(await body.take(10)).toBeNull()
      expect(body.cause).toBeNull()
    })

    it('that arrived whole before its client hung up, and was never taken, is broken', async () => {
      const { body, client, req } = await send(head(lengthOf(6)), 'abcdef')
      client.destroy()
      await until(() => req.destroyed, 'the server has seen it')
      const batch = await body.take(10)
      expect(batch === null ? body.cause : 'bytes').not.toBeNull()
    })

    it('has no cause when the client hangs up after it', async () => {
      const { body, client, req } = await send(head(lengthOf(3)), 'abc')
      expect(await takeText(body, 3)).toBe('abc')
      expect(await takeText(body, 3)).toBeNull()
      client.destroy()
      await until(() => req.socket.destroyed, 'the server sees it')
      expect(body.cause).toBeNull()
    })

    it('does not swallow the bytes that were not taken yet', async () => {
      const { body, req } = await send(head(lengthOf(6)), 'abcdef')
      expect(await takeText(body, 1)).toBe('a')
      await until(() => req.readableEnded, 'the body has ended')
      expect(await takeText(body, 10)).toBe('bcdef')
      expect(await takeText(body, 10)).toBeNull()
    })
  })

  describe('a body that breaks off', () => {
    const closed = expect.objectContaining({ code: 'client_closed' })

    it.each([
      ['its Content-Length', [head(lengthOf(100)), 'abc']],
      ['its last chunk', [head(CHUNKED), '3\r\nabc\r\n']],
      ['the end of a chunk', [head(CHUNKED), '64\r\nabc']],
    ])('before %s gives what arrived, then null, and tells the cause', async (_what, pieces) => {
      const { body, client } = await send(...pieces)
      expect(await takeText(body, 100)).toBe('abc')
      expect(body.cause).toBeNull()
      client.destroy()
      expect(await takeText(body, 100)).toBeNull()
      expect(body.cause).toEqual(closed)
      expect(body.cause).toBeInstanceOf(HttpError)
    })

    it('by a client that only stops sending is broken as well', async () => {
      const { body, client } = await send(head(lengthOf(100)), 'abc')
      expect(await takeText(body, 100)).toBe('abc')
      client.end()
      expect(await takeText(body, 100)).toBeNull()
      expect(body.cause).toEqual(closed)
    })

    it('keeps what had gathered before', async () => {
      const { body, client, req } = await send(head(lengthOf(100)), 'abcdef')
      expect(await takeText(body, 1)).toBe('a')
      client.destroy()
      await until(() => req.destroyed, 'the server sees it')
      await until(() => body.cause !== null, 'the body is broken')
      expect(await takeText(body, 2)).toBe('bc')
      expect(await takeText(body, 100)).toBe('def')
      expect(await takeText(body, 100)).toBeNull()
      expect(body.cause).toEqual(closed)
    })

    it('before the first take invites nobody to send', async () => {
      const { body, told } = await send(head(lengthOf(6), 'Expect: 100-continue'))
      body.stop(new Error('another one is here'))
      expect(await body.take(10)).toBeNull()
      await sleep(50)
      expect(told()).toBe('')
    })

    it('before the first take gives null at once', async () => {
      const { body, client, req } = await send(head(lengthOf(100)), 'abc')
      client.destroy()
      await until(() => req.destroyed, 'the server sees it')
      expect(await body.take(100)).toBeNull()
      expect(body.cause).toEqual(closed)
    })

    it('by a chunk that is none gives what came before it', async () => {
      const { body, client } = await send(head(CHUNKED), '3\r\nabc\r\n')
      expect(await takeText(body, 100)).toBe('abc')
      client.write('not hex\r\n')
      expect(await takeText(body, 100)).toBeNull()
      expect(body.cause).toEqual(closed)
    })
  })

  describe('silence', () => {
    beforeEach(() => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] })
    })
    afterEach(() => {
      vi.useRealTimers()
    })

    it('while we wait ends the body after the timeout, and not before', async () => {
      const { body } = await send(head(lengthOf(10)), 'abc')
      await body.take(10)
      const batch = watch(body.take(10))
      await vi.advanceTimersByTimeAsync(SILENCE_MS - 1)
      expect([batch.kept, body.cause]).toEqual([false, null])
      await vi.advanceTimersByTimeAsync(1)
      expect([batch.kept, batch.value]).toEqual([true, null])
      expect(body.cause).toMatchObject({ code: 'client_closed', message: expect.stringContaining('silent') })
    })

    it('is not measured by a clock that somebody sets, ahead or back', async () => {
      const { body } = await send(head(lengthOf(10)), 'abc')
      await body.take(10)
      const batch = watch(body.take(10))
      vi.setSystemTime(Date.now() + 86_400_000)
      expect(body.idle()).toBe(false)
      vi.setSystemTime(Date.now() - 2 * 86_400_000)
      await vi.advanceTimersByTimeAsync(3_000)
      expect([body.idle(), batch.kept]).toEqual([true, false])
    })

    it('counts from the last byte', async () => {
      const { body, client } = await send(head(lengthOf(10)), 'a')
      await body.take(10)
      for (let i = 0; i < 5; i++) {
        const batch = watch(body.take(10))
        await vi.advanceTimersByTimeAsync(SILENCE_MS - 1)
        client.write('b')
        await until(() => batch.kept, 'the byte is there')
        expect(sizeOf(batch.value ?? null)).toBe(1)
      }
      expect(body.cause).toBeNull()
    })

    it('while nobody takes is nothing: neither a timeout nor idle, before the first take and later', async () => {
      const { body, client } = await send(head(lengthOf(10)), 'abc')
      await vi.advanceTimersByTimeAsync(SILENCE_MS * 10)
      expect(body.idle()).toBe(false)
      expect(await takeText(body, 3)).toBe('abc')
      await vi.advanceTimersByTimeAsync(SILENCE_MS * 10)
      expect([body.idle(), body.cause]).toEqual([false, null])
      client.write('d')
      expect(await takeText(body, 3)).toBe('d')
    })

    it('of three seconds while we wait is idle, less is not, and a byte ends it', async () => {
      const { body, client } = await send(head(lengthOf(10)), 'abc')
      await body.take(10)
      expect(body.idle()).toBe(false)
      const batch = watch(body.take(10))
      expect(body.idle()).toBe(false)
      await vi.advanceTimersByTimeAsync(2999)
      expect(body.idle()).toBe(false)
      await vi.advanceTimersByTimeAsync(1)
      expect(body.idle()).toBe(true)
      client.write('d')
      await until(() => batch.kept, 'the byte is there')
      expect(body.idle()).toBe(false)
    })

    it('leaves no timer once the byte is there, the end has come or the client is gone', async () => {
      for (const end of ['write', 'end', 'destroy'] as const) {
        const { body, client } = await send(head(lengthOf(10)))
        const batch = watch(body.take(10))
        await setImmediate()
        expect(vi.getTimerCount()).toBe(1)
        if (end === 'write') client.write('a')
        else client[end]()
        await until(() => batch.kept, `take answers after ${end}`)
        expect(vi.getTimerCount()).toBe(0)
      }
    })

    it('is idle for good after an end, a break or a stop', async () => {
      const ended = await send(head(lengthOf(1)), 'a')
      await takeAll(ended.body)
      const broken = await send(head(lengthOf(1)))
      broken.client.destroy()
      await broken.body.take(1)
      const stopped = await send(head(lengthOf(1)))
      stopped.body.stop(new Error('enough'))
      expect([ended, broken, stopped].map(({ body }) => body.idle())).toEqual([true, true, true])
    })
  })

  describe('stop', () => {
    const why = new Error('somebody else took over')

    it('ends a take that waits, with its cause', async () => {
      const { body } = await send(head(lengthOf(10)))
      const batch = watch(body.take(10))
      await setImmediate()
      body.stop(why)
      await setImmediate()
      expect([batch.kept, batch.value]).toEqual([true, null])
      expect(body.cause).toBe(why)
    })

    it('gives out what arrived and was not taken, and then nothing', async () => {
      const { body } = await send(head(lengthOf(10)), 'abcdef')
      expect(await takeText(body, 1)).toBe('a')
      body.stop(why)
      expect(await takeText(body, 10)).toBe('bcdef')
      expect(await body.take(10)).toBeNull()
      expect(body.cause).toBe(why)
    })

    it('drops what arrives later', async () => {
      const { body, client, req } = await send(head(lengthOf(10)), 'a')
      await body.take(1)
      body.stop(why)
      const read = req.socket.bytesRead
      client.write('bcd')
      await until(() => req.socket.bytesRead > read, 'the bytes are there')
      expect(await body.take(10)).toBeNull()
    })

    it('keeps an earlier cause', async () => {
      const { body, client } = await send(head(lengthOf(10)), 'a')
      await body.take(10)
      client.destroy()
      expect(await body.take(10)).toBeNull()
      body.stop(why)
      expect(body.cause).toMatchObject({ code: 'client_closed' })
    })

    it('does nothing to a body that has ended: its bytes are given out, and it has no cause', async () => {
      const { body, req } = await send(head(lengthOf(6)), 'abcdef')
      await body.take(1)
      await until(() => req.readableEnded, 'the body has ended')
      body.stop(why)
      expect(await takeText(body, 10)).toBe('bcdef')
      expect(await body.take(10)).toBeNull()
      expect(body.cause).toBeNull()
    })

    it('leaves the connection able to carry the answer', async () => {
      const { body, client, res, told } = await send(head(lengthOf(10)), 'abc')
      await body.take(1)
      body.stop(why)
      res.writeHead(423, { Connection: 'close' }).end('locked')
      await once(client, 'close')
      expect(told()).toMatch(/^HTTP\/1\.1 423 [^]*locked/)
    })
  })

  describe('Expect: 100-continue', () => {
    const EXPECT = 'Expect: 100-continue'
    const GO_ON = 'HTTP/1.1 100 Continue\r\n\r\n'

    it('is told to go on by the first take, once', async () => {
      const { body, client, told } = await send(head(lengthOf(6), EXPECT))
      const first = watch(body.take(3))
      await until(() => told() !== '', 'the client is told something')
      client.write('abcdef')
      await until(() => first.kept, 'the bytes are there')
      expect((await takeAll(body)).toString()).toBe('def')
      expect(told()).toBe(GO_ON)
    })

    it('is told nothing but the answer when nobody takes', async () => {
      const { client, res, told } = await send(head(lengthOf(6), EXPECT))
      await setImmediate()
      expect(told()).toBe('')
      res.writeHead(429, { Connection: 'close' }).end()
      await once(client, 'close')
      expect(told()).toMatch(/^HTTP\/1\.1 429 /)
      expect(told()).not.toContain('100 Continue')
    })

    it('is not told to go on without having asked', async () => {
      const { body, client, res, told } = await send(head(lengthOf(1)), 'a')
      await takeAll(body)
      res.writeHead(200, { Connection: 'close' }).end()
      await once(client, 'close')
      expect(told()).toMatch(/^HTTP\/1\.1 200 /)
      expect(told()).not.toContain('100 Continue')
    })
  })
})

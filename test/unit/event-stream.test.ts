import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import type { HttpError } from '../../src/core/errors.ts'
import { createEventStreams, type EventStream, type StreamLimits } from '../../src/http/event-stream.ts'
import type { Exchange } from '../../src/http/exchange.ts'
import { eventually } from '../support/slow-request.ts'

const LIMITS: StreamLimits = { perUser: 2, overall: 3, heartbeatMs: 60_000, maxMs: 60_000 }

/** A server that opens a stream for whoever comes, whose user is the path. */
async function useStreams(limits: Partial<StreamLimits> = {}) {
  const reasons: string[] = []
  const streams = createEventStreams(
    { throttled: (reason) => reasons.push(reason) },
    { ...LIMITS, ...limits },
  )
  const opened: EventStream[] = []
  const server = createServer((req, res) => {
    try {
      opened.push(streams.open({ req, res, userId: req.url } as unknown as Exchange))
    } catch (error) {
      res.writeHead((error as HttpError).status).end()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const come = async (user: string): Promise<{ socket: Socket; text: () => string }> => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    socket.setEncoding('latin1').on('data', (piece: string) => (text += piece))
    socket.write(`GET ${user} HTTP/1.1\r\nHost: a\r\n\r\n`)
    await eventually(() => text.includes('\r\n\r\n'), 'the head is there')
    return { socket, text: () => text }
  }
  return { streams, opened, reasons, come }
}

test('so many streams of a user, so many of all, and a place comes free with each that ends', async () => {
  const { come, opened, reasons } = await useStreams()
  const statusOf = async (user: string) => Number((await come(user)).text().slice(9, 12))
  expect([await statusOf('/a'), await statusOf('/a'), await statusOf('/a')]).toEqual([200, 200, 429])
  expect([await statusOf('/b'), await statusOf('/c')]).toEqual([200, 429])
  expect(reasons).toEqual(['event_stream_limit', 'event_stream_limit'])
  opened[0]?.end()
  await opened[0]?.over
  expect(await statusOf('/c')).toBe(200)
})

test('a client that does not take what was sent is kept the newest of each, and gets it when it takes again', async () => {
  const { come, opened } = await useStreams()
  const { socket, text } = await come('/a')
  socket.pause()
  const padding = 'x'.repeat(64 * 1024)
  for (let n = 0; n < 1000; n++) {
    opened[0]?.send('upload', 'one', { n, padding })
    opened[0]?.send('upload', 'two', { n: -n, padding })
    // So that the kernel's buffers fill up.
    if (n % 50 === 0) await sleep(1)
  }
  socket.resume()
  await eventually(
    () => text().includes('"n":999,') && text().includes('"n":-999,'),
    'the newest of each comes',
  )
  expect(text().split('event: upload').length).toBeLessThan(1000)
})

test('a silent stream shows that it lives, and ends when it is old', async () => {
  const { come, opened } = await useStreams({ heartbeatMs: 5, maxMs: 300 })
  const { text } = await come('/a')
  await eventually(() => text().includes(':\n\n'), 'a heartbeat comes')
  await opened[0]?.over
  await eventually(() => text().endsWith('0\r\n\r\n'), 'the answer ends properly')
})

test('a client that takes nothing for two heartbeats is cut off', async () => {
  const { come, opened } = await useStreams({ heartbeatMs: 20 })
  const { socket } = await come('/a')
  socket.pause()
  for (let n = 0; n < 400; n++) opened[0]?.send('upload', String(n), 'x'.repeat(64 * 1024))
  await opened[0]?.over
})

test('closing ends them all', async () => {
  const { streams, come, opened } = await useStreams()
  const visitors = [await come('/a'), await come('/b')]
  streams.close()
  await Promise.all(opened.map(({ over }) => over))
  for (const { text } of visitors) await eventually(() => text().endsWith('0\r\n\r\n'), 'it ends properly')
})

test('a client that went while it was found out who it is gets no stream, and keeps no place', async () => {
  const streams = createEventStreams({ throttled: () => {} }, LIMITS)
  const outcomes: string[] = []
  let letIn = () => {}
  const allowed = new Promise<void>((resolve) => (letIn = resolve))
  const server = createServer((req, res) => {
    const open = () => {
      try {
        streams.open({ req, res, userId: 'a' } as unknown as Exchange)
        outcomes.push('open')
      } catch (error) {
        outcomes.push((error as HttpError).code)
        res.destroy()
      }
    }
    void allowed.then(open)
  })
  let gone = 0
  server.on('connection', (socket) => socket.once('close', () => (gone += 1)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const sockets = [1, 2, 3].map(() => connect(port, '127.0.0.1'))
  for (const socket of sockets) {
    const asked = once(server, 'request')
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await asked
    socket.destroy()
  }
  await eventually(() => gone === sockets.length, 'they are gone')
  letIn()
  await eventually(() => outcomes.length === sockets.length, 'each was found out')
  // A place that was kept would be missing for the third.
  expect(outcomes).toEqual(['client_closed', 'client_closed', 'client_closed'])
})

test('once the streams were ended by a shutdown, none is opened any more', async () => {
  const { come, streams } = await useStreams()
  streams.close()
  expect((await come('/a')).text()).toContain('503')
})

test('who does not take what was sent holds up no shutdown', async () => {
  const { come, opened, streams } = await useStreams()
  const { socket } = await come('/a')
  socket.pause()
  // More than the kernel takes.
  for (let n = 0; n < 300; n++) {
    opened[0]?.send('upload', `u${n}`, 'x'.repeat(100_000))
    await sleep(1)
  }
  let isOver = false
  void opened[0]?.over.then(() => (isOver = true))
  streams.close()
  await eventually(() => isOver, 'the stream is over')
})

test('a stream that has ended before its client took everything is not written to any more', async () => {
  const { come, opened } = await useStreams({ heartbeatMs: 20 })
  const { socket } = await come('/a')
  socket.pause()
  for (let n = 0; n < 10; n++) opened[0]?.send('upload', 'u', 'x'.repeat(10_000_000))
  opened[0]?.end()
  let isOver = false
  void opened[0]?.over.then(() => (isOver = true))
  // A write behind the end is an error that nobody listens for, and ends the process.
  await eventually(() => isOver, 'who takes nothing is cut off')
})

test('a stream that ended while it waits behind a pipelined one is told when its turn comes', async () => {
  const { come, opened } = await useStreams({ heartbeatMs: 20 })
  const { socket, text } = await come('/a')
  socket.write('GET /a HTTP/1.1\r\nHost: a\r\n\r\n')
  await eventually(() => opened.length === 2, 'the second is open')
  opened[1]?.end()
  await eventually(() => text().split(':\n\n').length > 5, 'it is time for several signs of life')
  opened[0]?.end()
  await eventually(() => text().split('HTTP/1.1 200').length === 3, 'the second is answered')
})

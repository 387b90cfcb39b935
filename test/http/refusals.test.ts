import { beforeAll, describe, expect, test } from 'vitest'
import { initiate, openChunk } from '../support/chunks.ts'
import { bytesOf, MIB } from '../support/bytes.ts'
import { clientOf } from '../support/client.ts'
import { untilInflight } from '../support/load.ts'
import { lines, rawConnection } from '../support/raw.ts'
import { ALICE, startTestServer } from '../support/server.ts'

/** That much of a body is drained; past it the connection closes. */
const DRAINED = 64 * 1024

let url: string
let id: string
beforeAll(async () => {
  const server = await startTestServer({ MAX_INFLIGHT_CHUNKS_PER_UPLOAD: '1' })
  url = server.url
  id = await initiate(clientOf(url))
  const open = await openChunk(url, id, 0)
  await untilInflight(clientOf(url), 1)
  return async () => {
    open.cut()
    await server.close()
  }
})

const head = (line: string, ...headers: string[]) =>
  lines(`${line} HTTP/1.1`, 'Host: a', `X-API-Key: ${ALICE}`, ...headers)
const put = (...headers: string[]) => head(`PUT /v1/uploads/${id}/chunks/1`, ...headers)
const patch = (...headers: string[]) =>
  head(
    `PATCH /files/${id}`,
    'Tus-Resumable: 1.0.0',
    'Upload-Offset: 0',
    'Content-Type: application/offset+octet-stream',
    ...headers,
  )
const version = head('GET /version')

describe.each([
  ['429 natively', put, /^HTTP\/1\.1 429 [^]*"error_code":"throttled"/],
  ['503 by tus', patch, /^HTTP\/1\.1 503 [^]*try again\.\n/],
])('a refusal, %s, on a kept connection,', (_how, request, refusal) => {
  test.each([
    ['a byte', 1],
    ['as much as is drained', DRAINED],
  ])(
    'comes before the body, and with %s outstanding the connection serves the next request',
    async (_what, length) => {
      const connection = rawConnection(url)
      connection.send(request(`Content-Length: ${length}`))
      const told = await connection.sees(refusal)
      expect(told).not.toMatch(/^connection: close/im)
      connection.send(bytesOf(length))
      connection.send(version)
      await connection.sees(/HTTP\/1\.1 200 OK[^]*"version"/)
    },
  )

  test('reaches a client that sent a small body and the next request before it looked', async () => {
    const connection = rawConnection(url)
    connection.send(Buffer.concat([Buffer.from(request('Content-Length: 1000')), bytesOf(1000)]))
    connection.send(version)
    const told = await connection.sees(/"version"/)
    expect(told).toMatch(refusal)
  })

  test.each([
    ['one byte more than is drained', `Content-Length: ${DRAINED + 1}`],
    ['a huge body', 'Content-Length: 10000000000'],
    ['a chunked body', 'Transfer-Encoding: chunked'],
  ])('comes before the body, and with %s outstanding the connection closes', async (_what, length) => {
    const connection = rawConnection(url)
    connection.send(request(length))
    const told = await connection.closed
    expect(told).toMatch(refusal)
    expect(told).toMatch(/^connection: close/im)
  })

  test.each([1, 2, 3])(
    'reaches a client that never stops sending and reads only afterwards (%i)',
    async () => {
      const connection = rawConnection(url)
      connection.socket.pause()
      connection.send(request(`Content-Length: ${64 * MIB}`))
      connection.send(bytesOf(64 * MIB))
      await new Promise((resolve) => setTimeout(resolve, 100))
      connection.socket.resume()
      expect(await connection.sees(refusal)).toMatch(/^connection: close/im)
      await connection.closed
    },
  )

  test('that closes the connection is its last answer: nothing behind the body is done', async () => {
    const call = clientOf(url)
    const other = await initiate(call)
    const connection = rawConnection(url)
    connection.send(request(`Content-Length: ${DRAINED + 1}`))
    await connection.sees(refusal)
    connection.send(bytesOf(DRAINED + 1))
    connection.send(head(`DELETE /v1/uploads/${other}`))
    await connection.closed
    expect((await call('GET', `/v1/uploads/${other}`)).status).toBe(200)
  })

  test('reaches a client that asked for the connection to be closed, and sends its body before it looks', async () => {
    const connection = rawConnection(url)
    connection.socket.pause()
    connection.send(request(`Content-Length: ${DRAINED}`, 'Connection: close'))
    for (let sent = 0; sent < DRAINED; sent += DRAINED / 8) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      connection.send(bytesOf(DRAINED / 8))
    }
    connection.socket.resume()
    expect(await connection.closed).toMatch(refusal)
  })

  test('is the only answer, without 100 Continue, to a client that waits for one', async () => {
    const connection = rawConnection(url)
    connection.send(request('Content-Length: 1000', 'Expect: 100-continue'))
    await connection.sees(refusal)
  })

  test('is two answers to two pipelined requests, and a third request is served', async () => {
    const connection = rawConnection(url)
    connection.send(`${request('Content-Length: 5')}hello`.repeat(2) + version)
    const told = await connection.sees(/"version"/)
    expect(told.match(/HTTP\/1\.1 (429|503) /g)).toHaveLength(2)
  })
})

describe('bytes that are no request', () => {
  const much = bytesOf(4 * MIB)
  test.each([
    ['an unknown method', 'FETCH / HTTP/1.1\r\n', '400 Bad Request'],
    ['no HTTP', 'hello\r\n', '400 Bad Request'],
    ['endless headers', `GET / HTTP/1.1\r\nX: ${'x'.repeat(300_000)}`, '431 Request Header Fields Too Large'],
    ['two lengths', put('Content-Length: 5', 'Content-Length: 6'), '400 Bad Request'],
    ['a chunk of no length', `${put('Transfer-Encoding: chunked')}x\r\n`, '400 Bad Request'],
  ])(
    'get an answer and a closed connection, though more of them are on their way: %s',
    async (_what, bytes, answer) => {
      const connection = rawConnection(url)
      connection.socket.pause()
      connection.send(bytes)
      for (let at = 0; at < much.length; at += much.length / 8) {
        await new Promise((resolve) => setTimeout(resolve, 5))
        connection.send(much.subarray(at, at + much.length / 8))
      }
      connection.socket.resume()
      const told = await connection.closed
      expect(told).toBe(`HTTP/1.1 ${answer}\r\nConnection: close\r\n\r\n`)
    },
  )
})

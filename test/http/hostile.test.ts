import { readdirSync, readlinkSync, existsSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bytesOf, MIB } from '../support/bytes.ts'
import { clientOf, patchAt, TUS, type Client } from '../support/client.ts'
import { untilInflight } from '../support/load.ts'
import { lines, openSocket } from '../support/raw.ts'
import { ALICE, BOB, startTestServer, useServer, type TestServer } from '../support/server.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const APPEND = 'application/offset+octet-stream'

let server: TestServer
let call: Client
beforeAll(async () => {
  server = await startTestServer()
  call = clientOf(server.url)
})
afterAll(() => server.close())

const create = async (length: number, ask: Client = call, headers = {}): Promise<string> => {
  const answer = await ask('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': String(length), ...headers },
  })
  return new URL(answer.headers.get('location') ?? '', 'http://x').pathname
}

/** Sends raw bytes on a connection of their own. @returns what comes back until the other side is silent */
const raw = (text: string, url = server.url, silenceMs = 300): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = openSocket(url)
    let told = ''
    let timer = setTimeout(() => socket.destroy(), 5000)
    socket.on('data', (data) => {
      told += String(data)
      clearTimeout(timer)
      timer = setTimeout(() => socket.destroy(), silenceMs)
    })
    socket.on('error', reject).on('close', () => {
      clearTimeout(timer)
      resolve(told)
    })
    socket.write(text)
  })

test.each(['?x=/', '?/', '#/'])(
  "the id that is deleted is the owner's own, whatever follows it: %s",
  async (tail) => {
    const own = await create(5)
    const other = await create(5, clientOf(server.url, BOB))
    const told = await raw(
      lines(
        `DELETE ${own}${tail}${other.split('/').at(-1)} HTTP/1.1`,
        'Host: a',
        `X-API-Key: ${ALICE}`,
        'Tus-Resumable: 1.0.0',
      ),
    )
    expect((await clientOf(server.url, BOB)('HEAD', other, { headers: TUS })).status).toBe(200)
    const left = await call('HEAD', own, { headers: TUS })
    expect(left.status).toBe(told.startsWith('HTTP/1.1 204') ? 404 : 200)
  },
)

describe('a place at the gate is given back', () => {
  test('by clients that send a whole body and leave without the answer', async () => {
    const own = await useServer()
    const ask = clientOf(own.url)
    for (let i = 0; i < 20; i++) {
      const path = await create(5, ask)
      const patch = slowRequest(own.url, 'PATCH', path, { ...patchAt(0), 'Content-Length': '5' })
      await patch.send(Buffer.from('hello'))
      patch.cut()
    }
    await untilInflight(ask, 0)
  })

  test('by requests whose answers wait behind one that nobody reads', async () => {
    const own = await useServer()
    const ask = clientOf(own.url)
    const big = bytesOf(8 * MIB)
    const file = await create(big.length, ask)
    await ask('PATCH', file, { headers: patchAt(0), body: big })
    const socket = openSocket(own.url)
    socket.on('error', () => {})
    socket.pause()
    socket.write(lines(`GET ${file} HTTP/1.1`, 'Host: a', `X-API-Key: ${ALICE}`))
    for (let i = 0; i < 10; i++) {
      const path = await create(5, ask)
      for (const offset of ['0', 'x'])
        socket.write(
          lines(
            `PATCH ${path} HTTP/1.1`,
            'Host: a',
            `X-API-Key: ${ALICE}`,
            'Tus-Resumable: 1.0.0',
            `Upload-Offset: ${offset}`,
            `Content-Type: ${APPEND}`,
            'Content-Length: 5',
          ) + 'hello',
        )
    }
    await untilInflight(ask, 0)
    socket.destroy()
  })
})

test('many pipelined downloads that nobody reads hold one piece of one file, not one of each', async () => {
  const own = await useServer()
  const ask = clientOf(own.url)
  const big = bytesOf(32 * MIB)
  const file = await create(big.length, ask)
  await ask('PATCH', file, { headers: patchAt(0), body: big })
  const socket = openSocket(own.url)
  socket.on('error', () => {})
  socket.pause()
  const before = process.memoryUsage().arrayBuffers
  socket.write(lines(`GET ${file} HTTP/1.1`, 'Host: a', `X-API-Key: ${ALICE}`).repeat(200))
  await eventually(() => openFiles(own.root).length > 0, 'the first download reads')
  for (let i = 0; i < 20; i++) await ask('GET', '/health')
  expect(openFiles(own.root)).toHaveLength(1)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50 * MIB)
  socket.destroy()
  await eventually(() => openFiles(own.root).length === 0, 'the file is closed')
})

test('a client that never takes its download is cut off, and its file closed', async () => {
  const own = await useServer({ BODY_IDLE_TIMEOUT_SECONDS: '1' })
  const ask = clientOf(own.url)
  const big = bytesOf(32 * MIB)
  const file = await create(big.length, ask)
  await ask('PATCH', file, { headers: patchAt(0), body: big })
  const socket = openSocket(own.url)
  const closed = new Promise((resolve) => socket.on('error', () => {}).once('close', resolve))
  socket.pause()
  socket.write(lines(`GET ${file} HTTP/1.1`, 'Host: a', `X-API-Key: ${ALICE}`))
  await eventually(() => openFiles(own.root).length === 1, 'the download reads')
  await eventually(() => openFiles(own.root).length === 0, 'the download is given up')
  socket.resume()
  await closed
})

function openFiles(root: string): string[] {
  if (!existsSync('/proc/self/fd')) return []
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const file = readlinkSync(`/proc/self/fd/${fd}`)
      return file.startsWith(`${root}/files/`) ? [file] : []
    } catch {
      return [] // closed since the folder was listed
    }
  })
}

test.each([
  ['without a key', '/files/x', ''],
  ['on nothing', '/files/x', `X-API-Key: ${ALICE}\r\n`],
  [
    'of another version',
    '/files/00000000-0000-4000-8000-000000000000',
    `X-API-Key: ${ALICE}\r\nTus-Resumable: 9\r\n`,
  ],
])('an answer to an overridden HEAD %s leaves the connection in step', async (_what, path, headers) => {
  const told = await raw(
    `POST ${path} HTTP/1.1\r\nHost: a\r\n${headers}X-HTTP-Method-Override: HEAD\r\nContent-Length: 0\r\n\r\n` +
      'GET /version HTTP/1.1\r\nHost: a\r\n\r\n',
  )
  const [first = '', rest = ''] = told.split(/(?<=\r\n\r\n)/)
  expect(first).toMatch(/^HTTP\/1.1 4\d\d /)
  const length = Number(/content-length: (\d+)/i.exec(first)?.[1] ?? 0)
  expect(length).toBe(0)
  expect(rest).toMatch(/^(0\r\n\r\n)?HTTP\/1.1 200 OK/)
})

describe('JSON', () => {
  const head = (...headers: string[]) =>
    lines(
      'POST /v1/uploads/init HTTP/1.1',
      'Host: a',
      `X-API-Key: ${ALICE}`,
      'Content-Type: application/json',
      ...headers,
    )

  test('that is announced as too long is refused before it is read, and nobody is told to go on', async () => {
    expect(await raw(head('Content-Length: 100000000', 'Expect: 100-continue'))).toMatch(/^HTTP\/1.1 413 /)
  })

  test('that turns out too long is refused', async () => {
    const told = await raw(
      `${head('Transfer-Encoding: chunked')}20000\r\n${'x'.repeat(0x20000)}\r\n0\r\n\r\n`,
    )
    expect(told).toMatch(/^HTTP\/1.1 413 /)
  })

  test('that never comes ends its connection', async () => {
    const own = await useServer({ BODY_IDLE_TIMEOUT_SECONDS: '1' })
    const socket = openSocket(own.url)
    socket.on('error', () => {})
    socket.write(`${head('Content-Length: 100')}{`)
    await new Promise((resolve) => socket.once('close', resolve))
  })

  const init = (body: string | Buffer, headers = {}) =>
    call('POST', '/v1/uploads/init', {
      body: body as string,
      headers: { 'Content-Type': 'application/json', ...headers },
    })

  test.each([
    [
      'nested too deep',
      `{"file_name":"a","file_size":5,"metadata":{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`,
      422,
    ],
    ['with a NUL in the name', '{"file_name":"a\\u0000b","file_size":5}', 422],
    ['with half a character in the name', '{"file_name":"a\\ud800b","file_size":5}', 422],
    ['with a NUL in the type', '{"file_name":"a","file_size":5,"content_type":"text/html\\u0000"}', 422],
    ['with a NUL in the metadata', '{"file_name":"a","file_size":5,"metadata":{"a":"\\u0000"}}', 422],
    ['empty', '', 400],
    ['that is no UTF-8', Buffer.from('{"file_name":"\xff","file_size":5}', 'latin1'), 400],
  ])('%s is refused, and names no upload', async (_what, body, status) => {
    const answer = await init(body)
    expect([answer.status, answer.json.upload_id]).toEqual([status, null])
  })

  test('with a backslash in the metadata that only looks like a NUL is taken, and comes back', async () => {
    const metadata = { path: 'C:\\u0000\\ud800' }
    const created = await init(JSON.stringify({ file_name: 'a', file_size: 5, metadata }))
    expect(created.status).toBe(201)
    const shown = await call('GET', `/v1/uploads/${created.json.upload_id}`)
    expect(shown.json.metadata).toEqual(metadata)
  })

  test('that is compressed is 415', async () => {
    expect((await init('{"file_name":"a","file_size":5}', { 'Content-Encoding': 'gzip' })).status).toBe(415)
  })

  test.each(['0x10', '1e1', '-1', '0', '1001', ''])('a list of limit %j is 422', async (limit) => {
    expect((await call('GET', `/v1/uploads?limit=${limit}`)).status).toBe(422)
  })
})

test('a NUL in Upload-Metadata is 400', async () => {
  const told = `filename ${Buffer.from('a\0b').toString('base64')}`
  const answer = await call('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': '1', 'Upload-Metadata': told },
  })
  expect(answer.status).toBe(400)
})

test.each(['/files/%E0%A4%A', '/v1/uploads/%E0%A4%A', '/%'])(
  'a URL that can not be decoded is 404 with the request id, a line in the log, and in its dialect: %s',
  async (path) => {
    const own = await useServer({ LOG_LEVEL: 'info' })
    const told = await raw(lines(`GET ${path} HTTP/1.1`, 'Host: a', 'X-Request-ID: mine'), own.url)
    expect(told).toMatch(/^HTTP\/1.1 404 /)
    expect(told).toMatch(/x-request-id: mine/i)
    expect(told).toMatch(path.startsWith('/files') ? /text\/plain/ : /"request_id":"mine"/)
    await eventually(() => own.lines.some((line) => line['request_id'] === 'mine'), 'the line is written')
  },
)

test('a chunked first body that goes on past its length is 413, and says where the upload is', async () => {
  const creation = slowRequest(server.url, 'POST', '/files', {
    ...TUS,
    'Upload-Length': '5',
    'Content-Type': APPEND,
    'Transfer-Encoding': 'chunked',
  })
  await creation.send(Buffer.from('0123456789'))
  creation.end()
  const answer = await creation.answer
  expect(answer.status).toBe(413)
  const head = await call('HEAD', new URL(answer.headers.location ?? '').pathname, { headers: TUS })
  expect([head.status, head.headers.get('upload-offset')]).toEqual([200, '5'])
})

describe('Location is relative where the host is no host', () => {
  const locationOf = async (url: string, head: string[]) => {
    const told = await raw(
      lines(...head, `X-API-Key: ${ALICE}`, 'Tus-Resumable: 1.0.0', 'Upload-Length: 1'),
      url,
    )
    return /^location: (.*)$/im.exec(told)?.[1]?.replace(/[0-9a-f-]{36}/, 'ID')
  }

  test.each([
    ['of HTTP/1.0', ['POST /files HTTP/1.0'], '/files/ID'],
    ['that is empty', ['POST /files HTTP/1.1', 'Host:'], '/files/ID'],
    ['with a path', ['POST /files HTTP/1.1', 'Host: x/y?z#'], '/files/ID'],
    ['with a user', ['POST /files HTTP/1.1', 'Host: a@b'], '/files/ID'],
    ['that is one', ['POST /files HTTP/1.1', 'Host: [::1]:80'], 'http://[::1]:80/files/ID'],
  ])('%s', async (_what, head, location) => {
    expect(await locationOf(server.url, head)).toBe(location)
  })

  test.each([
    ['Forwarded: host=up.example.com;proto=https, for=10.0.0.1', 'https://up.example.com/files/ID'],
    ['Forwarded: Proto=HTTPS;Host="up.example.com:444"', 'https://up.example.com:444/files/ID'],
    ['X-Forwarded-Host: a/b?c', '/files/ID'],
    ['X-Forwarded-Proto: javascript', '/files/ID'],
  ])('behind a trusted proxy that says %s', async (header, location) => {
    const own = await useServer({ TRUST_PROXY: 'true' })
    expect(await locationOf(own.url, ['POST /files HTTP/1.1', 'Host: a', header])).toBe(location)
  })
})

test.each(['200-ok', '100-continue, 200-ok', '100-continue;x'])(
  'an Expect that nobody can meet is 417, in its dialect, and the body is not taken: %s',
  async (expected) => {
    const request = (line: string) =>
      lines(line, 'Host: a', `X-API-Key: ${ALICE}`, 'Content-Length: 5', `Expect: ${expected}`)
    expect(await raw(request('PUT /v1/uploads/x/chunks/0 HTTP/1.1'))).toMatch(
      /^HTTP\/1\.1 417 [^]*"error_code":"expectation_failed"/,
    )
    expect(await raw(request('POST /files HTTP/1.1'))).toMatch(/^HTTP\/1\.1 417 [^]*Expect can only be/)
  },
)

test.each([
  ['a length and chunks', ['Content-Length: 5', 'Transfer-Encoding: chunked']],
  ['two lengths', ['Content-Length: 5', 'Content-Length: 6']],
  ['a list of lengths', ['Content-Length: 5, 5']],
  ['chunks that are called otherwise', ['Transfer-Encoding: xchunked']],
  ['a space before a colon', ['Content-Length : 5']],
])('a body that is framed by %s is 400, whatever a proxy makes of it', async (_what, framing) => {
  const path = await create(5)
  const told = await raw(
    `${lines(
      `PATCH ${path} HTTP/1.1`,
      'Host: a',
      `X-API-Key: ${ALICE}`,
      'Tus-Resumable: 1.0.0',
      'Upload-Offset: 0',
      `Content-Type: ${APPEND}`,
      ...framing,
    )}5\r\nhello\r\n0\r\n\r\n`,
  )
  expect(told).toMatch(/^HTTP\/1.1 400 /)
  expect((await call('HEAD', path, { headers: TUS })).headers.get('upload-offset')).toBe('0')
})

test('an HTTP/1.0 client is never told 100 Continue', async () => {
  const path = await create(5)
  const told = await raw(
    `${lines(
      `PATCH ${path} HTTP/1.0`,
      `X-API-Key: ${ALICE}`,
      'Tus-Resumable: 1.0.0',
      'Upload-Offset: 0',
      `Content-Type: ${APPEND}`,
      'Content-Length: 5',
      'Expect: 100-continue',
    )}hello`,
  )
  expect(told).toMatch(/^HTTP\/1.1 204 /)
})

test.each(['GET /health', 'OPTIONS /files', 'GET /v1/uploads'])(
  '%s does not take a huge body that comes with it',
  async (line) => {
    const told = await raw(
      lines(`${line} HTTP/1.1`, 'Host: a', `X-API-Key: ${ALICE}`, 'Content-Length: 10000000000'),
    )
    expect(told).toMatch(/^HTTP\/1.1 20\d /)
    expect(told).toMatch(/connection: close/i)
  },
)

test('after a refusal in mid-body the rest is dropped, and the connection serves the next request', async () => {
  const path = await create(10)
  const patch = lines(
    `PATCH ${path} HTTP/1.1`,
    'Host: a',
    `X-API-Key: ${ALICE}`,
    'Tus-Resumable: 1.0.0',
    'Upload-Offset: 3',
    `Content-Type: ${APPEND}`,
    'Content-Length: 7',
  )
  const told = await raw(`${patch}abcdefg${lines('GET /version HTTP/1.1', 'Host: a')}`)
  expect(told).toMatch(/^HTTP\/1.1 409 [\s\S]*HTTP\/1.1 200 OK/)
})

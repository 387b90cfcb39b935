import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, open, readdir, readlink, rm, truncate, writeFile } from 'node:fs/promises'
import http, { type IncomingHttpHeaders, type IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse as parseDisposition } from 'content-disposition'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { toHttpError } from '../../src/core/errors.ts'
import type { ChunkStore } from '../../src/core/ports/store.ts'
import type { Upload } from '../../src/core/upload.ts'
import { downloadOf, serveFile } from '../../src/http/download.ts'
import { createFileReader } from '../../src/stores/file-reader.ts'

const MIB = 1024 * 1024
const TEN = '0123456789'
const MODIFIED = new Date(Date.UTC(2024, 4, 6, 7, 8, 9, 987))
const LAST_MODIFIED = 'Mon, 06 May 2024 07:08:09 GMT'
const EARLIER = 'Mon, 06 May 2024 07:08:08 GMT'
const LATER = 'Mon, 06 May 2024 07:08:10 GMT'
const ID = '6f9619ff-8b86-4d01-b42d-00cf4fc964ff'
/** how Node's client tells of a connection that broke after the head, and before it */
const BROKEN = /aborted|socket hang up/
const ETAG = `"${ID}"`

type Read = ChunkStore['read']
interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

let folder: string
let tenBytes: string
const servers: Server[] = []

beforeAll(async () => {
  // Holes of a sparse file read several times faster from a RAM disk, and take no room there either.
  folder = await mkdtemp(path.join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'download-'))
  tenBytes = await file(TEN)
})
afterEach(() => {
  for (const server of servers.splice(0)) server.close().closeAllConnections()
})
afterAll(() => rm(folder, { recursive: true }))

async function file(content: string): Promise<string> {
  const name = path.join(folder, randomUUID())
  await writeFile(name, content)
  return name
}

/** A file of zeros that takes no room, but for the given bytes at its end. */
async function sparseFile(size: number, end = ''): Promise<string> {
  const name = await file('')
  await truncate(name, size)
  const handle = await open(name, 'r+')
  await handle.write(end, size - end.length)
  await handle.close()
  return name
}

const reader = createFileReader()
const readerOf =
  (name: string): Read =>
  (_upload, range) =>
    reader.read(name, range)

const uploadOf = (changes: Partial<Upload> = {}): Upload => ({
  id: ID,
  ownerId: 'user',
  dialect: 'native',
  fileName: 'ten.bin',
  size: TEN.length,
  chunkSize: 4,
  status: 'COMPLETED',
  contentType: 'application/x-ten',
  metadata: {},
  checksumSha256: null,
  offset: TEN.length,
  appendOffset: null,
  storedCells: 3,
  storageId: null,
  staged: false,
  createdAt: MODIFIED,
  updatedAt: MODIFIED,
  expiresAt: MODIFIED,
  concat: null,
  ...changes,
})

/** A server that serves one upload. `outcomes` tells how each handler ended: 'ok' or its error. */
async function serve(changes: Partial<Upload> = {}, read: Read = readerOf(tenBytes), stallMs?: number) {
  const outcomes: unknown[] = []
  const server = http.createServer((req, res) => {
    serveFile(req, res, downloadOf(uploadOf(changes)), { read }, stallMs).then(
      () => outcomes.push('ok'),
      (error: unknown) => {
        outcomes.push(error)
        const { status, headers, code } = toHttpError(error)
        if (!res.headersSent) res.writeHead(status, headers).end(code)
      },
    )
  })
  // Nobody but serveFile may end a connection.
  server.keepAliveTimeout = 0
  servers.push(server)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  return { port, server, outcomes }
}

function request(port: number, headers: Record<string, string> = {}, method = 'GET', agent?: http.Agent) {
  return new Promise<IncomingMessage>((resolve, reject) => {
    http.request({ port, host: '127.0.0.1', headers, method, agent }, resolve).on('error', reject).end()
  })
}

async function answerOf(res: IncomingMessage): Promise<Answer> {
  const pieces: Buffer[] = []
  for await (const piece of res) pieces.push(piece as Buffer)
  return { status: res.statusCode ?? 0, headers: res.headers, body: Buffer.concat(pieces).toString() }
}

/** One request to a fresh server of one upload. */
async function ask(
  headers: Record<string, string> = {},
  method = 'GET',
  changes: Partial<Upload> = {},
  read?: Read,
) {
  const { port } = await serve(changes, read)
  return answerOf(await request(port, headers, method))
}

const neverRead: Read = () => {
  throw new Error('The store was asked.')
}

/** The parts of a multipart/byteranges body: [Content-Type, Content-Range, bytes] each. */
function partsOf({ headers, body }: Answer): string[][] {
  const boundary = /^multipart\/byteranges; boundary=([\w-]+)$/.exec(headers['content-type'] ?? '')?.[1]
  if (!boundary) throw new Error(`no multipart: ${headers['content-type']}`)
  const pieces = body.split(`\r\n--${boundary}`)
  expect(pieces.shift()).toBe('')
  expect(pieces.pop()).toBe('--\r\n')
  return pieces.map((piece) => {
    const [, type, range, bytes] =
      /^\r\nContent-Type: (.*)\r\nContent-Range: (.*)\r\n\r\n(.*)$/s.exec(piece) ?? []
    return [type ?? '', range ?? '', bytes ?? '']
  })
}

const eventually = (check: () => unknown) => vi.waitFor(check, { timeout: 15_000, interval: 20 })

async function openHandles(name: string): Promise<number> {
  const links = (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => ''))
  return (await Promise.all(links)).filter((target) => target === name).length
}

describe('the whole file', () => {
  it('comes with 200, its length, its type and Accept-Ranges', async () => {
    const { status, headers, body } = await ask()
    expect({ status, body }).toEqual({ status: 200, body: TEN })
    expect(headers).toMatchObject({
      'accept-ranges': 'bytes',
      'content-length': '10',
      'content-type': 'application/x-ten',
      etag: ETAG,
      'last-modified': LAST_MODIFIED,
    })
    expect(headers).not.toHaveProperty('content-range')
  })

  it('has on HEAD the headers of GET and no body, and the store is not asked', async () => {
    const { port } = await serve()
    const get = await answerOf(await request(port))
    const head = await ask({}, 'HEAD', {}, neverRead)
    expect(head).toEqual({ status: 200, headers: { ...get.headers, date: head.headers.date }, body: '' })
  })

  it('of zero bytes is a 200 of length 0 that never asks the store', async () => {
    const { status, headers, body } = await ask({}, 'GET', { size: 0 }, neverRead)
    expect({ status, length: headers['content-length'], body }).toEqual({
      status: 200,
      length: '0',
      body: '',
    })
  })

  it.each(['INITIATED', 'IN_PROGRESS', 'FAILED', 'ABORTED'] as const)(
    'of an upload that is %s is 409',
    async (status) => {
      expect(await ask({}, 'GET', { status })).toMatchObject({ status: 409, body: 'conflict' })
    },
  )

  it('of an upload that is FINALIZING is 409 and calls it IN_PROGRESS', async () => {
    const { port, outcomes } = await serve({ status: 'FINALIZING' })
    expect((await answerOf(await request(port))).status).toBe(409)
    expect(String(outcomes[0])).toContain('IN_PROGRESS')
  })
})

describe('one range', () => {
  it.each([
    ['bytes=0-0', '0', 'bytes 0-0/10'],
    ['bytes=-3', '789', 'bytes 7-9/10'],
    ['bytes=5-', '56789', 'bytes 5-9/10'],
    ['bytes=8-99', '89', 'bytes 8-9/10'],
    ['bytes=-999', TEN, 'bytes 0-9/10'],
    ['bytes=0-99999999999999999999', TEN, 'bytes 0-9/10'],
    ['Bytes=2-3', '23', 'bytes 2-3/10'],
    ['bytes=20-30,2-3', '23', 'bytes 2-3/10'],
  ])('%s is 206 with "%s"', async (range, expected, contentRange) => {
    const { status, headers, body } = await ask({ range })
    expect({ status, body }).toEqual({ status: 206, body: expected })
    expect(headers).toMatchObject({
      'content-range': contentRange,
      'content-length': String(expected.length),
      'content-type': 'application/x-ten',
      etag: ETAG,
      'x-content-type-options': 'nosniff',
    })
  })

  it.each(['bytes=5-2', 'bytes=-', 'bytes=1e0-2e0', 'bytes=a-b', 'nonsense', 'items=0-1'])(
    '%s is ignored',
    async (range) => {
      expect(await ask({ range })).toMatchObject({ status: 200, body: TEN })
    },
  )

  it.each(['bytes=10-', 'bytes=-0', 'bytes=99-100,200-'])('%s is 416 with the size', async (range) => {
    const { status, headers, body } = await ask({ range })
    expect({ status, body }).toEqual({ status: 416, body: 'range_not_satisfiable' })
    expect(headers['content-range']).toBe('bytes */10')
  })

  it('of a file of zero bytes is 416', async () => {
    const { status, headers } = await ask({ range: 'bytes=0-0' }, 'GET', { size: 0 })
    expect([status, headers['content-range']]).toEqual([416, 'bytes */0'])
  })

  it.each(['bytes=2-3', 'bytes=10-'])('%s means nothing to HEAD', async (range) => {
    const { status, headers } = await ask({ range }, 'HEAD')
    expect([status, headers['content-length']]).toEqual([200, '10'])
    expect(headers).not.toHaveProperty('content-range')
  })

  it('past 2^32 comes from its place', async () => {
    const size = 5 * 1024 ** 3
    const { port } = await serve({ size }, readerOf(await sparseFile(size, TEN)))
    const { headers, body } = await answerOf(await request(port, { range: `bytes=${size - 4}-${size - 2}` }))
    expect(body).toBe('678')
    expect(headers['content-range']).toBe(`bytes ${size - 4}-${size - 2}/${size}`)
  })
})

describe('several ranges', () => {
  it('come as multipart/byteranges in the order asked, with the right Content-Length', async () => {
    const answer = await ask({ range: 'bytes=8-, 0-1 ,50-60,-0,4-4' })
    expect(answer.status).toBe(206)
    expect(answer.headers['content-length']).toBe(String(answer.body.length))
    expect(answer.headers).not.toHaveProperty('content-range')
    expect(partsOf(answer)).toEqual([
      ['application/x-ten', 'bytes 8-9/10', '89'],
      ['application/x-ten', 'bytes 0-1/10', '01'],
      ['application/x-ten', 'bytes 4-4/10', '4'],
    ])
  })

  it('leave the connection fit for the next request', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    const { port } = await serve()
    const first = await request(port, { range: 'bytes=0-1,4-5' }, 'GET', agent)
    const { socket } = first
    await answerOf(first)
    const second = await request(port, { range: 'bytes=2-3' }, 'GET', agent)
    expect(second.socket).toBe(socket)
    expect((await answerOf(second)).body).toBe('23')
    agent.destroy()
  })

  it.each([
    ['33 of them', 100, Array.from({ length: 33 }, (_, i) => `${2 * i}-${2 * i}`).join()],
    ['a thousand of them', 100, '0-,'.repeat(1000)],
    ['more than two that overlap', 100, '0-9,5-14,10-19'],
    ['two that are each the whole', 100, '0-,0-'],
  ])('are answered with the whole file for %s', async (_, size, set) => {
    const { port } = await serve({ size }, readerOf(await file(TEN.repeat(10))))
    const { status, body } = await answerOf(await request(port, { range: `bytes=${set}` }))
    expect({ status, body }).toEqual({ status: 200, body: TEN.repeat(10) })
  })

  it('a store that fails between two of them breaks the connection', async () => {
    const { port } = await serve({}, (_upload, { start, end }) =>
      reader.read(start === 0 ? tenBytes : '/nowhere', { start, end }),
    )
    await expect(request(port, { range: 'bytes=0-1,4-5' }).then(answerOf)).rejects.toThrow(BROKEN)
  })
})

describe('conditions, in the order of RFC 9110 §13.2.2', () => {
  const otherTag = '"other"'
  it.each<[number, Record<string, string>]>([
    [304, { 'if-none-match': ETAG }],
    [304, { 'if-none-match': `W/${ETAG}` }],
    [304, { 'if-none-match': `${otherTag}, ${ETAG}` }],
    [304, { 'if-none-match': '*' }],
    [200, { 'if-none-match': otherTag }],
    [200, { 'if-none-match': ID }],
    [304, { 'if-modified-since': LAST_MODIFIED }],
    [304, { 'if-modified-since': LATER }],
    [200, { 'if-modified-since': EARLIER }],
    [200, { 'if-modified-since': 'yesterday' }],
    [200, { 'if-modified-since': '2030' }],
    // If-Modified-Since does not count beside If-None-Match
    [200, { 'if-none-match': otherTag, 'if-modified-since': LATER }],
    [304, { 'if-none-match': ETAG, 'if-modified-since': EARLIER }],
    [200, { 'if-match': ETAG }],
    [200, { 'if-match': '*' }],
    [200, { 'if-match': `${otherTag}, ${ETAG}` }],
    [412, { 'if-match': otherTag }],
    [412, { 'if-match': `W/${ETAG}` }],
    [200, { 'if-unmodified-since': LAST_MODIFIED }],
    [200, { 'if-unmodified-since': LATER }],
    [412, { 'if-unmodified-since': EARLIER }],
    [200, { 'if-unmodified-since': 'yesterday' }],
    // nor If-Unmodified-Since beside If-Match
    [200, { 'if-match': ETAG, 'if-unmodified-since': EARLIER }],
    [412, { 'if-match': otherTag, 'if-unmodified-since': LATER }],
    // 412 goes before 304, and both before a range
    [412, { 'if-match': otherTag, 'if-none-match': ETAG }],
    [304, { 'if-match': ETAG, 'if-none-match': ETAG }],
    [304, { 'if-none-match': ETAG, range: 'bytes=0-1' }],
    [304, { 'if-none-match': ETAG, range: 'bytes=10-' }],
    [412, { 'if-match': otherTag, range: 'bytes=10-' }],
    // If-Range
    [206, { 'if-range': ETAG, range: 'bytes=0-1' }],
    [206, { 'if-range': LAST_MODIFIED, range: 'bytes=0-1' }],
    [200, { 'if-range': otherTag, range: 'bytes=0-1' }],
    [200, { 'if-range': `W/${ETAG}`, range: 'bytes=0-1' }],
    [200, { 'if-range': LATER, range: 'bytes=0-1' }],
    [200, { 'if-range': EARLIER, range: 'bytes=0-1' }],
    [200, { 'if-range': 'nonsense', range: 'bytes=0-1' }],
    [200, { 'if-range': otherTag, range: 'bytes=10-' }],
    [416, { 'if-range': ETAG, range: 'bytes=10-' }],
    [200, { 'if-range': ETAG }],
  ])('%i for %j', async (status, headers) => {
    const answer = await ask(headers)
    expect(answer.status).toBe(status)
    if (status === 200) expect(answer.body).toBe(TEN)
    if (status === 206) expect(answer.body).toBe('01')
  })

  it('a 304 has the validators and no body, on HEAD and GET', async () => {
    for (const method of ['GET', 'HEAD']) {
      const { status, headers, body } = await ask({ 'if-none-match': ETAG }, method)
      expect({ status, body }).toEqual({ status: 304, body: '' })
      expect(headers).toMatchObject({
        etag: ETAG,
        'last-modified': LAST_MODIFIED,
        'cache-control': 'private, no-cache',
      })
      expect(headers).not.toHaveProperty('content-length')
    }
  })

  it('Last-Modified is never later than Date, though the upload is from the future', async () => {
    const { headers } = await ask({}, 'GET', { updatedAt: new Date(Date.now() + 3_600_000) })
    expect(Date.parse(headers['last-modified'] ?? '')).toBeLessThanOrEqual(Date.parse(headers.date ?? ''))
  })
})

describe('what was uploaded does not run', () => {
  it('every answer with bytes is sandboxed, not sniffed, private and not to be embedded elsewhere', async () => {
    for (const range of ['none', 'bytes=0-1', 'bytes=0-1,3-4']) {
      expect((await ask({ range })).headers).toMatchObject({
        'content-security-policy': "sandbox; default-src 'none'",
        'x-content-type-options': 'nosniff',
        'cache-control': 'private, no-cache',
        'cross-origin-resource-policy': 'same-origin',
      })
    }
  })

  it.each([
    'image/png',
    'image/webp',
    'audio/mpeg',
    'video/mp4',
    'text/plain',
    'Text/Plain; charset=utf-8',
    'application/pdf',
  ])('%s is shown inline', async (contentType) => {
    const { headers } = await ask({}, 'GET', { contentType })
    expect(headers['content-type']).toBe(contentType)
    expect(headers['content-disposition']).toBe('inline; filename=ten.bin')
  })

  it.each([
    'text/html',
    'TEXT/HTML; charset=utf-8',
    'image/svg+xml',
    'image/SVG+XML ; a=b',
    'application/xhtml+xml',
    'text/xml',
    'application/xml',
    'text/javascript',
    'text/plainly',
    'application/pdfx',
    'application/octet-stream; a="image/png"',
  ])('%s is an attachment', async (contentType) => {
    const { headers } = await ask({}, 'GET', { contentType })
    expect(headers['content-type']).toBe(contentType)
    expect(headers['content-disposition']).toBe('attachment; filename=ten.bin')
  })

  it.each([
    null,
    '',
    'image',
    'image/',
    '/png',
    'image/png, text/html',
    'image/png\r\nX-Evil: 1',
    'image/png; a=b\0',
    'image/png; a="b',
    'image/png; a b=c',
    'image/ png',
    'bild/ü',
  ])('the type %j is no type: application/octet-stream, attached', async (contentType) => {
    const { headers } = await ask({}, 'GET', { contentType })
    expect(headers['content-type']).toBe('application/octet-stream')
    expect(headers['content-disposition']).toMatch(/^attachment;/)
    expect(headers).not.toHaveProperty('x-evil')
  })

  it('a type of 100,000 characters made to backtrack is refused like any other', async () => {
    const contentType = `a/b${'; \t '.repeat(25_000)}=`
    expect((await ask({}, 'GET', { contentType })).headers['content-type']).toBe('application/octet-stream')
  })
})

describe('the file name', () => {
  const dispositionOf = async (fileName: string) =>
    (await ask({}, 'HEAD', { fileName })).headers['content-disposition'] ?? ''

  it.each([
    ['plain.txt', 'attachment; filename=plain.txt'],
    ['two words.txt', 'attachment; filename="two words.txt"'],
    ['a"b.txt', `attachment; filename=a_b.txt; filename*=UTF-8''a%22b.txt`],
    ['50%41.txt', `attachment; filename=50_41.txt; filename*=UTF-8''50%2541.txt`],
    ['文件.txt', `attachment; filename=__.txt; filename*=UTF-8''%E6%96%87%E4%BB%B6.txt`],
    ['😀.png', `attachment; filename=_.png; filename*=UTF-8''%F0%9F%98%80.png`],
    ["naïve 'x'.txt", `attachment; filename="na_ve 'x'.txt"; filename*=UTF-8''na%C3%AFve%20%27x%27.txt`],
  ])('%s goes out as %s', async (fileName, expected) => {
    expect(await dispositionOf(fileName)).toBe(expected)
  })

  it.each([
    ['../../etc/passwd', 'passwd'],
    ['/etc/passwd', 'passwd'],
    ['..\\..\\windows\\system32\\cmd.exe', 'cmd.exe'],
    ['C:\\x\\y.txt', 'y.txt'],
    ['a\r\nSet-Cookie: x=1.txt', 'a__Set-Cookie: x=1.txt'],
    ['nul\0l.txt', 'nul_l.txt'],
    ['tab\tesc\x1b\x7f\x85.txt', 'tab_esc___.txt'],
    ['gpj.\u202eexe', 'gpj._exe'],
    ['half \ud83d.txt', 'half \ufffd.txt'],
    ['\udc00', '\ufffd'],
    ['', 'download'],
    ['.', 'download'],
    ['..', 'download'],
    ['a/', 'download'],
    ['  ', 'download'],
    ['.profile', '.profile'],
    ['a; filename=b', 'a; filename=b'],
  ])('%j is saved as %j', async (fileName, saved) => {
    const header = await dispositionOf(fileName)
    expect(header).toMatch(/^[\x20-\x7e]+$/)
    expect(parseDisposition(header)).toMatchObject({ type: 'attachment', parameters: { filename: saved } })
  })

  it.each(['a', '文', '😀'])(
    'of 5,000 %s is cut to what fits in a header and keeps its extension',
    async (character) => {
      const header = await dispositionOf(`${character.repeat(5000)}.tar`)
      expect(header.length).toBeLessThan(4096)
      expect(parseDisposition(header).parameters.filename).toBe(`${character.repeat(200)}.tar`)
    },
  )
})

describe('a store that fails', () => {
  const yields = (...pieces: string[]): Read =>
    async function* () {
      for (const piece of pieces) yield Buffer.from(piece)
    }
  const failing: Read = async function* () {
    yield Buffer.from('012')
    throw new Error('disk on fire')
  }

  it('before the first byte is answered as an error', async () => {
    const { port, outcomes } = await serve({}, readerOf('/nowhere'))
    expect(await answerOf(await request(port))).toMatchObject({ status: 500, body: 'internal_error' })
    expect(outcomes).toEqual([expect.objectContaining({ code: 'ENOENT' })])
  })

  it.each([
    ['throws in the middle', failing, 'disk on fire'],
    ['ends early', yields('0123', '45'), '4 bytes early'],
    ['gives too much', yields('0123', '4567890'), '1 bytes too many'],
  ])('in the middle (%s) breaks the connection and is told to the caller', async (_, read, message) => {
    const { port, outcomes } = await serve({}, read)
    await expect(request(port).then(answerOf)).rejects.toThrow(BROKEN)
    await eventually(() =>
      expect(outcomes).toEqual([
        expect.objectContaining({ message: expect.stringContaining(message) as string }),
      ]),
    )
  })

  it('by a file shorter than the upload breaks the connection and leaves no handle', async () => {
    const short = await file(TEN.slice(0, 7))
    const { port, outcomes } = await serve({}, readerOf(short))
    await expect(request(port).then(answerOf)).rejects.toThrow(BROKEN)
    await eventually(() => expect(String(outcomes[0])).toContain('3 bytes before 10'))
    expect(await openHandles(short)).toBe(0)
  })
})

describe('a client that goes away', () => {
  it('in the middle leaves no handle open, and no error', async () => {
    const size = 256 * MIB
    const large = await sparseFile(size)
    const { port, outcomes } = await serve({ size }, readerOf(large))
    const res = await request(port)
    await once(res, 'data')
    expect(await openHandles(large)).toBe(1)
    res.destroy()
    await eventually(() => expect(outcomes).toEqual(['ok']))
    expect(await openHandles(large)).toBe(0)
  })

  it('in the middle of several ranges leaves no handle open, and no error', async () => {
    const size = 256 * MIB
    const large = await sparseFile(size)
    const { port, outcomes } = await serve({ size }, readerOf(large))
    const res = await request(port, { range: `bytes=0-9,${64 * MIB}-` })
    let bytes = 0
    for await (const piece of res.iterator({ destroyOnReturn: true })) {
      bytes += (piece as Buffer).length
      if (bytes > MIB) break
    }
    await eventually(() => expect(outcomes).toEqual(['ok']))
    expect(await openHandles(large)).toBe(0)
  })

  it('is told to the source while its next chunk is still awaited', async () => {
    let returned = 0
    let giveUp: (() => void) | undefined
    const read: Read = () => ({
      [Symbol.asyncIterator]: () => {
        let first = true
        return {
          next() {
            if (!first)
              return new Promise((resolve) => (giveUp = () => resolve({ done: true, value: undefined })))
            first = false
            return Promise.resolve({ done: false, value: Buffer.from('012') })
          },
          return() {
            returned++
            giveUp?.()
            return Promise.resolve({ done: true, value: undefined })
          },
        }
      },
    })
    const { port, outcomes } = await serve({}, read)
    const res = await request(port)
    await once(res, 'data')
    await eventually(() => expect(giveUp).toBeDefined())
    res.destroy()
    await eventually(() => expect(outcomes).toEqual(['ok']))
    expect(returned).toBe(1)
  })

  it('with a source that fails on its way out is no error', async () => {
    const read: Read = () => ({
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve({ done: false, value: Buffer.alloc(MIB) }),
        return: () => Promise.reject(new Error('the stream would not close')),
      }),
    })
    const { port, outcomes } = await serve({ size: 256 * MIB }, read)
    const res = await request(port)
    await once(res, 'data')
    res.destroy()
    await eventually(() => expect(outcomes).toEqual(['ok']))
  })

  it('releases the pipelined downloads behind the one it broke off, which had not opened their file', async () => {
    const size = 256 * MIB
    const large = await sparseFile(size)
    const { port, outcomes } = await serve({ size }, readerOf(large))
    const client = connect(port, '127.0.0.1')
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(3))
    await eventually(async () => expect(await openHandles(large)).toBe(1))
    client.destroy()
    await eventually(async () => expect(await openHandles(large)).toBe(0))
    await eventually(() => expect(outcomes).toEqual(['ok', 'ok', 'ok']))
  })

  it('and leaves its connection open is let go, though it pipelined another request', async () => {
    const size = 64 * MIB
    const { port, outcomes } = await serve({ size }, readerOf(await sparseFile(size)), 200)
    const client = connect(port, '127.0.0.1')
      .pause()
      .on('error', () => {})
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(2))
    await eventually(() => expect(outcomes).toEqual(['ok', 'ok']))
    client.destroy()
  })

  it('is not one that takes a chunk slowly, nor one that asked for more meanwhile', async () => {
    const size = 24 * MIB
    const read: Read = async function* (_upload, { start, end }) {
      yield Buffer.alloc(end - start)
    }
    const { port } = await serve({ size }, read, 500)
    const client = connect(port, '127.0.0.1')
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    client.write('GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\nConnection: close\r\n\r\n')
    let bytes = 0
    for await (const piece of client) {
      bytes += (piece as Buffer).length
      // Slower than the timeout even for what the kernel does not hold, and never silent that long.
      await sleep((piece as Buffer).length / ((8 * MIB) / 1000))
    }
    expect(bytes).toBeGreaterThan(size + 10)
  })

  it('before the first byte is read opens no file', async () => {
    let reads = 0
    let gone: Promise<unknown> = Promise.resolve()
    const ended: string[] = []
    const server = http.createServer((req, res) => {
      gone = once(req.socket, 'close').then(() =>
        serveFile(req, res, downloadOf(uploadOf()), {
          read: async function* () {
            reads++
            yield Buffer.from(TEN)
          },
        }).then(() => ended.push('ok')),
      )
      req.socket.destroy()
    })
    servers.push(server)
    await once(server.listen(0, '127.0.0.1'), 'listening')
    await expect(request((server.address() as AddressInfo).port)).rejects.toThrow('socket hang up')
    await gone
    expect({ ended, reads }).toEqual({ ended: ['ok'], reads: 0 })
  })

  it('after a whole download has left no handle and no listener on its connection', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    const { port, server, outcomes } = await serve()
    const connections = once(server, 'connection')
    await answerOf(await request(port, {}, 'GET', agent))
    const [socket] = (await connections) as [Socket]
    await eventually(() => expect(outcomes).toHaveLength(1))
    const listeners = socket.listenerCount('close')
    for (let i = 0; i < 5; i++) await answerOf(await request(port, {}, 'GET', agent))
    await eventually(() => expect(outcomes).toHaveLength(6))
    expect(socket.listenerCount('close')).toBe(listeners)
    expect(await openHandles(tenBytes)).toBe(0)
    agent.destroy()
  })
})

describe('memory', () => {
  it('holds one chunk for a client that does not read, and asks the store for no more', async () => {
    const size = 64 * MIB
    let asked = 0
    const read: Read = async function* (_upload, { start, end }) {
      for (let position = start; position < end; position += MIB) {
        asked++
        yield Buffer.alloc(MIB)
      }
    }
    const buffered: number[] = []
    const { port, server } = await serve({ size }, (upload, range) => read(upload, range))
    server.on('request', (_req, res: http.ServerResponse) => {
      const write = res.write.bind(res) as (chunk: Uint8Array) => boolean
      res.write = ((chunk: Uint8Array) => {
        buffered.push(res.writableLength)
        return write(chunk)
      }) as typeof res.write
    })
    const res = await request(port)
    res.pause()
    // What the kernel and the client's parser take is a few MiB; the rest has to wait with the store.
    let before = -1
    await eventually(() => {
      const same = asked === before
      before = asked
      expect(same).toBe(true)
    })
    expect(asked).toBeLessThan(32)
    let bytes = 0
    for await (const piece of res) bytes += (piece as Buffer).length
    expect(bytes).toBe(size)
    expect(Math.max(...buffered)).toBeLessThanOrEqual(MIB)
  })

  it('does not grow with the file: 2 GiB in less than 100 MiB', async () => {
    const size = 2 * 1024 ** 3
    const { port } = await serve({ size }, readerOf(await sparseFile(size, TEN)))
    // A client that reads into one buffer, so that what grows is the server.
    const buffer = Buffer.alloc(MIB)
    const before = process.memoryUsage.rss()
    let head = 0
    let bytes = 0
    let most = 0
    let end = ''
    const callback = (length: number) => {
      head ||= buffer.indexOf('\r\n\r\n') + 4
      bytes += length
      end = (end + buffer.toString('latin1', Math.max(0, length - 10), length)).slice(-10)
      most = Math.max(most, process.memoryUsage.rss())
      return true
    }
    const client = connect({ port, host: '127.0.0.1', onread: { buffer, callback } })
    client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    await once(client, 'end')
    expect({ bytes: bytes - head, end }).toEqual({ bytes: size, end: TEN })
    expect((most - before) / MIB).toBeLessThan(100)
  })
})

import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS, type Client } from '../support/client.ts'
import { ALICE, startTestServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Client
beforeAll(async () => {
  server = await startTestServer({ CHUNK_SIZE_BYTES: String(MIB) })
  call = clientOf(server.url)
})
afterAll(() => server.close())

const checksum = (algorithm: string, bytes: Uint8Array) =>
  `${algorithm} ${createHash(algorithm).update(bytes).digest('base64')}`

const create = async (length: number): Promise<string> => {
  const { headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': String(length) } })
  return new URL(headers.get('location') ?? '').pathname
}

const offsetOf = async (path: string) =>
  Number((await call('HEAD', path, { headers: TUS })).headers.get('upload-offset'))

test('OPTIONS tells the algorithms', async () => {
  const { headers } = await call('OPTIONS', '/files')
  expect(headers.get('tus-checksum-algorithm')).toBe('sha1,sha256,sha512,md5')
})

describe.each(['sha1', 'sha256', 'sha512', 'md5'])('%s', (algorithm) => {
  const bytes = bytesOf(3 * MIB + 7)

  test('a body that crosses cells counts whole when its checksum holds', async () => {
    const path = await create(bytes.length)
    const headers = { ...patchAt(0), 'Upload-Checksum': checksum(algorithm, bytes) }
    const patch = await call('PATCH', path, { headers, body: bytes })
    expect([patch.status, patch.headers.get('upload-offset')]).toEqual([204, String(bytes.length)])
    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
  })

  test('a mismatch is 460, the offset stays, and the right bytes can follow', async () => {
    const path = await create(bytes.length)
    await call('PATCH', path, { headers: patchAt(0), body: bytes.subarray(0, 1000) })
    const rest = bytes.subarray(1000)
    const wrong = { ...patchAt(1000), 'Upload-Checksum': checksum(algorithm, bytes) }
    expect((await call('PATCH', path, { headers: wrong, body: rest })).status).toBe(460)
    expect(await offsetOf(path)).toBe(1000)
    const right = { ...patchAt(1000), 'Upload-Checksum': checksum(algorithm, rest) }
    expect((await call('PATCH', path, { headers: right, body: rest })).status).toBe(204)
    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
  })

  test.each([
    ['right', 204],
    ['wrong', 460],
  ])('in a trailer that is %s: %i', async (which, status) => {
    const path = await create(bytes.length)
    const told = checksum(algorithm, which === 'right' ? bytes : bytes.subarray(1))
    expect(await patchWithTrailer(path, bytes, `Upload-Checksum: ${told}`)).toBe(status)
    expect(which === 'right' ? bytes.length : await offsetOf(path)).toBe(which === 'right' ? bytes.length : 0)
  })
})

test.each([
  ['an unknown algorithm', 'crc32 AAAAAA=='],
  ['no digest', 'sha1'],
  ['a digest that is no base64', 'sha1 !!!'],
  ['a digest of the wrong length', 'sha256 AAAA'],
  ['nothing', ''],
])('%s is 400 and the offset stays', async (_what, header) => {
  const path = await create(100)
  const patch = await call('PATCH', path, {
    headers: { ...patchAt(0), 'Upload-Checksum': header },
    body: bytesOf(100),
  })
  expect(patch.status).toBe(400)
  expect(await offsetOf(path)).toBe(0)
})

test('a trailer that is announced and does not come is 400, and nothing counts', async () => {
  const path = await create(100)
  expect(await patchWithTrailer(path, bytesOf(100), null)).toBe(400)
  expect(await offsetOf(path)).toBe(0)
})

test('a checksummed body that breaks off counts nothing', async () => {
  const bytes = bytesOf(3 * MIB)
  const path = await create(bytes.length)
  await new Promise<void>((resolve) => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    const head = requestHead(path, [
      `Content-Length: ${bytes.length}`,
      `Upload-Checksum: ${checksum('sha1', bytes)}`,
    ])
    socket.write(head)
    socket.write(bytes.subarray(0, 2 * MIB), () => socket.destroy())
    socket.on('close', () => resolve())
  })
  const patch = await retryLocked(() =>
    call('PATCH', path, {
      headers: { ...patchAt(0), 'Upload-Checksum': checksum('md5', bytes) },
      body: bytes,
    }),
  )
  expect(patch.status).toBe(204)
  expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
})

test('creation-with-upload is checked, too: a mismatch is 460 and leaves no upload', async () => {
  const bytes = bytesOf(1000)
  const post = (told: string) =>
    call('POST', '/files', {
      headers: {
        ...TUS,
        'Upload-Length': '1000',
        'Content-Type': 'application/offset+octet-stream',
        'Upload-Checksum': told,
      },
      body: bytes,
    })
  const count = async () => (await call('GET', '/v1/uploads?limit=1000')).json.uploads.length
  const before = await count()
  expect((await post(checksum('sha256', bytes.subarray(1)))).status).toBe(460)
  expect((await post('md4 AAAA')).status).toBe(400)
  expect(await count()).toBe(before)
  const good = await post(checksum('sha256', bytes))
  expect([good.status, good.headers.get('upload-offset')]).toEqual([201, '1000'])
})

const requestHead = (path: string, headers: string[]) =>
  [
    `PATCH ${path} HTTP/1.1`,
    'Host: localhost',
    `X-API-Key: ${ALICE}`,
    'Tus-Resumable: 1.0.0',
    'Upload-Offset: 0',
    'Content-Type: application/offset+octet-stream',
    ...headers,
    '\r\n',
  ].join('\r\n')

/** fetch and node:http can't both send trailers; a socket can. @returns the status */
const patchWithTrailer = (path: string, bytes: Buffer, trailer: string | null): Promise<number> =>
  new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1')
    socket.write(requestHead(path, ['Transfer-Encoding: chunked', 'Trailer: Upload-Checksum']))
    socket.write(`${bytes.length.toString(16)}\r\n`)
    socket.write(bytes)
    socket.write(`\r\n0\r\n${trailer === null ? '' : `${trailer}\r\n`}\r\n`)
    socket.once('data', (answer) => {
      socket.destroy()
      resolve(Number(String(answer).split(' ')[1]))
    })
    socket.once('error', reject)
  })

async function retryLocked<T extends { status: number }>(send: () => Promise<T>): Promise<T> {
  for (;;) {
    const answer = await send()
    if (answer.status !== 423) return answer
  }
}

import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Upload, type UploadOptions } from 'tus-js-client'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, TUS } from '../support/client.ts'
import { ALICE, startTestServer, type TestServer } from '../support/server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.close())

type Options = Partial<UploadOptions>

const optionsFor = (options: Options): Options => ({
  endpoint: `${server.url}/files`,
  headers: { 'X-API-Key': ALICE },
  metadata: { filename: 'film.mp4', filetype: 'video/mp4' },
  ...options,
})

/** Runs an upload to its end. @returns the path of its URL */
const upload = (bytes: Buffer | Readable, options: Options = {}): Promise<string> =>
  new Promise((resolve, reject) => {
    const job: Upload = new Upload(bytes as Buffer, {
      ...optionsFor(options),
      onError: reject,
      onSuccess: () => resolve(new URL(job.url ?? '').pathname),
    })
    job.start()
  })

describe.each([
  ['0 B', 0],
  ['1 B', 1],
  ['5 MiB', 5 * MIB],
  ['300 MiB', 300 * MIB],
])('tus-js-client uploads %s', (_name, size) => {
  const bytes = bytesOf(size)

  test.each([
    ['in one piece', {}],
    ['with a chunkSize that fits no cell', { chunkSize: 7_000_003 }],
    ['with data during creation', { uploadDataDuringCreation: true }],
  ])('%s, and the download is the file', async (_how, options) => {
    const path = await upload(bytes, options)

    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
    const shown = await clientOf(server.url)('GET', path.replace('/files/', '/v1/uploads/'))
    expect(shown.json).toMatchObject({
      status: 'COMPLETED',
      file_size: size,
      offset: size,
      file_name: 'film.mp4',
    })
  })
})

test('an upload that was paused goes on in a second client instance, from where the first one was', async () => {
  const bytes = bytesOf(24 * MIB)
  const url = await new Promise<string>((resolve, reject) => {
    const first: Upload = new Upload(bytes, {
      ...optionsFor({ chunkSize: 6 * MIB }),
      onError: reject,
      onChunkComplete: (_size, accepted) => {
        if (accepted < 12 * MIB) return
        void first.abort().then(() => resolve(first.url ?? ''))
      },
    })
    first.start()
  })
  const head = await clientOf(server.url)('HEAD', new URL(url).pathname, { headers: TUS })
  const offset = Number(head.headers.get('upload-offset'))
  expect(offset).toBeGreaterThanOrEqual(12 * MIB)
  expect(offset).toBeLessThan(bytes.length)

  const sent: number[] = []
  const path = await upload(bytes, {
    uploadUrl: url,
    onProgress: (done) => sent.push(done),
  })
  expect(sent[0]).toBeGreaterThanOrEqual(offset)
  expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
})

test('terminate removes the upload: HEAD is 404 after it', async () => {
  const path = await upload(bytesOf(1000))
  await Upload.terminate(`${server.url}${path}`, optionsFor({}))
  const call = clientOf(server.url)
  expect((await call('HEAD', path, { headers: TUS })).status).toBe(404)
  expect((await call('GET', path)).status).toBe(404)
})

test('a stream of unknown length is uploaded with a deferred length', async () => {
  const bytes = bytesOf(11 * MIB)
  const path = await upload(Readable.from(pieces(bytes, 100_000), { objectMode: false }), {
    uploadLengthDeferred: true,
    chunkSize: 3 * MIB,
  })
  expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
})

function* pieces(bytes: Buffer, length: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length)
}

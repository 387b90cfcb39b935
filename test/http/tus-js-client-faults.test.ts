import path from 'node:path'
import { Readable } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import * as tus from 'tus-js-client'
import { Upload, type UploadOptions, type UrlStorage } from 'tus-js-client'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { spawnServer } from '../support/process.ts'
import { seededRandom, startProxy } from '../support/proxy.ts'
import { ALICE, startTestServer, useServer } from '../support/server.ts'

type Options = Partial<UploadOptions>

/** Its types leave out what it has for Node. */
const { FileUrlStorage } = tus as unknown as { FileUrlStorage: new (file: string) => UrlStorage }

const headers = { 'X-API-Key': ALICE }
/** Impatient, so that tests are quick; as many tries as it takes. */
const retryDelays = Array.from({ length: 60 }, () => 100)

/** Runs an upload to its end. @returns the path of its URL */
const upload = (url: string, bytes: Buffer | Readable, options: Options = {}): Promise<string> =>
  new Promise((resolve, reject) => {
    const job: Upload = new Upload(bytes as Buffer, {
      endpoint: `${url}/files`,
      headers,
      retryDelays,
      ...options,
      onError: reject,
      onSuccess: () => resolve(new URL(job.url ?? '').pathname),
    })
    job.start()
  })

test('parallelUploads: 4 makes one file of four partial uploads', async () => {
  const { url } = await useServer()
  const bytes = bytesOf(21 * MIB + 3)
  const target = await upload(url, bytes, { parallelUploads: 4, metadata: { filename: 'four.bin' } })
  expect(sha256(await download(url, target))).toBe(sha256(bytes))
  const shown = await clientOf(url)('GET', target.replace('/files/', '/v1/uploads/'))
  expect(shown.json).toMatchObject({ status: 'COMPLETED', file_name: 'four.bin', file_size: bytes.length })
})

test('an upload resumes by its fingerprint in another client, without being created again', async () => {
  const { url, root } = await useServer()
  const urlStorage = new FileUrlStorage(path.join(root, 'urls.json'))
  const bytes = bytesOf(20 * MIB)
  const fingerprint = async () => 'the-same-file'
  const common: Options = { urlStorage, fingerprint, chunkSize: 5 * MIB, storeFingerprintForResuming: true }
  await new Promise<void>((resolve, reject) => {
    const first: Upload = new Upload(bytes, {
      endpoint: `${url}/files`,
      headers,
      ...common,
      onError: reject,
      onChunkComplete: (_size, accepted) => {
        if (accepted >= 10 * MIB) void first.abort().then(resolve)
      },
    })
    first.start()
  })
  const second = new Upload(bytes, { endpoint: `${url}/files`, headers, ...common })
  const [previous] = await second.findPreviousUploads()
  expect(previous).toBeDefined()
  const target = await new Promise<string>((resolve, reject) => {
    second.options.onError = reject
    second.options.onSuccess = () => resolve(new URL(second.url ?? '').pathname)
    if (previous) second.resumeFromPreviousUpload(previous)
    second.start()
  })
  expect(sha256(await download(url, target))).toBe(sha256(bytes))
  expect((await clientOf(url)('GET', '/v1/uploads')).json.uploads).toHaveLength(1)
})

test.each([
  ['in one piece', {}, 11],
  ['in chunks', { chunkSize: 2 * MIB + 17 }, 12],
  ['with data during creation', { uploadDataDuringCreation: true, chunkSize: 3 * MIB }, 13],
  ['in four parallel parts', { parallelUploads: 4 }, 14],
])(
  'over a network that cuts connections at random points, %s, the bytes are identical',
  async (_how, options, seed) => {
    const { url } = await useServer({ CHUNK_SIZE_BYTES: String(MIB) })
    const random = seededRandom(seed)
    const proxy = await startProxy(url, { cutAfterBytes: () => Math.floor((0.2 + random()) * 5 * MIB) })
    onTestFinished(() => proxy.close())
    const bytes = bytesOf(32 * MIB + 5, seed)
    const target = await upload(proxy.url, bytes, options)
    expect(proxy.cuts()).toBeGreaterThan(2)
    expect(sha256(await download(url, target))).toBe(sha256(bytes))
  },
)

test('a stream of deferred length over a network that cuts connections is identical', async () => {
  const { url } = await useServer({ CHUNK_SIZE_BYTES: String(MIB) })
  const random = seededRandom(15)
  const proxy = await startProxy(url, { cutAfterBytes: () => Math.floor((0.3 + random()) * 4 * MIB) })
  onTestFinished(() => proxy.close())
  const bytes = bytesOf(16 * MIB + 5, 15)
  const stream = Readable.from(pieces(bytes, 64 * 1024), { objectMode: false })
  const target = await upload(proxy.url, stream, { uploadLengthDeferred: true, chunkSize: MIB + 1 })
  expect(proxy.cuts()).toBeGreaterThan(1)
  expect(sha256(await download(url, target))).toBe(sha256(bytes))
})

function* pieces(bytes: Buffer, length: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length)
}

test('an upload survives a server that is killed and restarted under it', async () => {
  const root = await useFolder()
  const env = { CHUNK_SIZE_BYTES: String(MIB), LOG_LEVEL: 'error' }
  let server = await spawnServer(root, env)
  onTestFinished(() => void server.child.kill('SIGKILL'))
  const port = new URL(server.url).port
  const proxy = await startProxy(server.url, { bytesPerSecond: 12 * MIB })
  onTestFinished(() => proxy.close())
  const bytes = bytesOf(40 * MIB)
  let accepted = 0
  const running = upload(proxy.url, bytes, { onProgress: (sent) => (accepted = sent) })
  for (const at of [8 * MIB, 24 * MIB]) {
    while (accepted < at) await new Promise((resolve) => setTimeout(resolve, 20))
    await server.signal('SIGKILL')
    server = await spawnServer(root, { ...env, PORT: port })
  }
  const target = await running
  expect(sha256(await download(server.url, target))).toBe(sha256(bytes))
})

test('an upload survives a server that is shut down and started again', async () => {
  const root = await useFolder()
  const first = await startTestServer({ SHUTDOWN_GRACE_SECONDS: '0' }, root)
  const port = new URL(first.url).port
  const proxy = await startProxy(first.url, { bytesPerSecond: 12 * MIB })
  onTestFinished(() => proxy.close())
  const bytes = bytesOf(20 * MIB)
  let sent = 0
  const running = upload(proxy.url, bytes, { onProgress: (done) => (sent = done) })
  while (sent < 6 * MIB) await new Promise((resolve) => setTimeout(resolve, 20))
  await first.close()
  const second = await startTestServer({ PORT: port }, root)
  onTestFinished(() => second.close())
  const target = await running
  expect(sha256(await download(second.url, target))).toBe(sha256(bytes))
})

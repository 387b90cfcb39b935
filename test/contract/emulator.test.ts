/** What the S3 emulator offers to tests besides S3. What it shares with S3 is in s3-emulator.test.ts. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { S3, type S3ClientConfig } from '@aws-sdk/client-s3'
import { expect, onTestFinished, test } from 'vitest'
import { bytesOf } from '../support/bytes.ts'
import { useFolder } from '../support/folder.ts'
import { startS3, type S3Options } from '../support/s3/server.ts'
import { eventually } from '../support/slow-request.ts'
import { bytesIn, md5, refusalOf, tampering } from './s3-fixture.ts'

const BYTES = bytesOf(3_000_000)

const clientAt = (
  url: string,
  { accessKeyId, secretAccessKey }: NonNullable<S3Options['credentials']>,
  config: S3ClientConfig = {},
) =>
  new S3({
    endpoint: url,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey },
    requestChecksumCalculation: 'WHEN_REQUIRED',
    ...config,
  })

async function useEmulator(options: S3Options = {}) {
  const s3 = await startS3(options)
  onTestFinished(() => s3.close())
  return { s3, client: clientAt(s3.url, s3.credentials), key: { Bucket: s3.bucket, Key: 'a/b' } }
}

const filesIn = (dir: string) => readdirSync(path.join(dir, 'files'))

test('its log has every request, with operation, key, query and how it was answered', async () => {
  const { s3, client, key } = await useEmulator()
  await client.putObject({ ...key, Body: 'x' })
  await refusalOf(client.uploadPart({ ...key, UploadId: 'none', PartNumber: 7, Body: 'x' }))
  expect(s3.requests).toMatchObject([
    { method: 'PUT', operation: 'PutObject', bucket: 'uploads', key: 'a/b', status: 200, code: null },
    {
      operation: 'UploadPart',
      query: { partNumber: '7', uploadId: 'none' },
      status: 404,
      code: 'NoSuchUpload',
    },
  ])
  expect([s3.count(), s3.count('UploadPart'), s3.count('PutObject', 'UploadPart')]).toEqual([2, 1, 2])
  expect(s3.counts()).toEqual({ PutObject: 1, UploadPart: 1 })
  s3.reset()
  expect([s3.count(), s3.requests]).toEqual([0, []])
})

test('it shows objects, uploads and bytes without a request', async () => {
  const { s3, client, key } = await useEmulator()
  await client.putObject({ ...key, Body: 'xyz', ContentType: 'text/x', Tagging: 'k=v', Metadata: { m: '1' } })
  const { UploadId = '' } = await client.createMultipartUpload(key)
  for (const PartNumber of [2, 1]) await client.uploadPart({ ...key, UploadId, PartNumber, Body: 'ab' })
  s3.reset()
  expect(s3.objects('a/')).toMatchObject([
    { key: 'a/b', size: 3, metadata: { 'content-type': 'text/x', 'x-amz-meta-m': '1' }, tags: { k: 'v' } },
  ])
  expect(s3.objects('b/')).toEqual([])
  expect((await s3.read('a/b'))?.toString()).toBe('xyz')
  expect(await s3.read('a')).toBe(null)
  expect(s3.uploads()).toMatchObject([
    { key: 'a/b', uploadId: UploadId, parts: [{ partNumber: 1, size: 2 }, { partNumber: 2 }] },
  ])
  expect(s3.count()).toBe(0)
})

test('an upload may be aborted behind the back of its owner', async () => {
  const { s3, client, key } = await useEmulator()
  const { UploadId = '' } = await client.createMultipartUpload(key)
  s3.abortUpload(UploadId)
  expect(s3.uploads()).toEqual([])
  const part = client.uploadPart({ ...key, UploadId, PartNumber: 1, Body: 'x' })
  expect((await refusalOf(part)).code).toBe('NoSuchUpload')
})

test('another one on the same folder finds everything, and removes what a killed one left', async () => {
  const dir = await useFolder()
  const { s3, client, key } = await useEmulator({ dir })
  await client.putObject({ ...key, Body: BYTES })
  await client.putObject({ ...key, Key: 'gone', Body: 'x' })
  await client.deleteObject({ ...key, Key: 'gone' })
  const upload = await client.createMultipartUpload({ ...key, Key: 'm', Metadata: { a: '1' } })
  const { ETag } = await client.uploadPart({
    ...key,
    Key: 'm',
    UploadId: upload.UploadId,
    PartNumber: 1,
    Body: BYTES,
  })
  const [objects, uploads, files] = [s3.objects(), s3.uploads(), filesIn(dir)]
  await s3.close()
  writeFileSync(path.join(dir, 'files', 'half-written'), 'x')

  const next = await useEmulator({ dir })
  expect([next.s3.objects(), next.s3.uploads(), filesIn(dir)]).toEqual([objects, uploads, files])
  await next.client.completeMultipartUpload({
    ...key,
    Key: 'm',
    UploadId: upload.UploadId,
    MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] },
  })
  expect(md5(await bytesIn(await next.client.getObject({ ...key, Key: 'm' })))).toBe(md5(BYTES))
})

test('bytes that nothing refers to any more are removed', async () => {
  const dir = await useFolder()
  const { client, key } = await useEmulator({ dir })
  await client.putObject({ ...key, Body: '1' })
  await client.putObject({ ...key, Body: '2' })
  expect(filesIn(dir)).toHaveLength(1)
  const target = { ...key, UploadId: (await client.createMultipartUpload(key)).UploadId }
  const { ETag } = await client.uploadPart({ ...target, PartNumber: 1, Body: '1' })
  await client.uploadPart({ ...target, PartNumber: 2, Body: '2' })
  await client.uploadPart({ ...target, PartNumber: 2, Body: '3' })
  expect(filesIn(dir)).toHaveLength(3)
  await client.completeMultipartUpload({ ...target, MultipartUpload: { Parts: [{ PartNumber: 1, ETag }] } })
  expect(filesIn(dir)).toHaveLength(1)
  await client.deleteObject(key)
  expect(filesIn(dir)).toEqual([])
})

test('an object that is deleted while it is read is read to its end', async () => {
  const dir = await useFolder()
  const { client, key } = await useEmulator({ dir })
  // Two files: the second is opened when the first was read.
  const bodies = [bytesOf(20_000_000, 1), bytesOf(10_000_000, 2)]
  const target = { ...key, UploadId: (await client.createMultipartUpload(key)).UploadId }
  const Parts = []
  for (const [i, Body] of bodies.entries())
    Parts.push({
      PartNumber: i + 1,
      ETag: (await client.uploadPart({ ...target, PartNumber: i + 1, Body })).ETag,
    })
  await client.completeMultipartUpload({ ...target, MultipartUpload: { Parts } })
  const got = await client.getObject(key)
  await client.deleteObject(key)
  expect(md5(await bytesIn(got))).toBe(md5(Buffer.concat(bodies)))
  await eventually(() => filesIn(dir).length === 0, 'the files are gone')
})

test('a body that breaks off leaves nothing', async () => {
  const dir = await useFolder()
  const { s3, key, client } = await useEmulator({ dir })
  const aborted = new AbortController()
  async function* body() {
    yield BYTES
    await eventually(() => filesIn(dir).length === 1, 'a file is being written')
    aborted.abort()
    await new Promise(() => {})
  }
  const put = client.putObject(
    { ...key, Body: Readable.from(body()), ContentLength: 2 * BYTES.length },
    { abortSignal: aborted.signal },
  )
  await expect(put).rejects.toThrow()
  await eventually(() => filesIn(dir).length === 0, 'the file is gone')
  expect(s3.objects()).toEqual([])
})

test('the limits of parts can be smaller than those of S3', async () => {
  const { client, key } = await useEmulator({ minPartBytes: 10, maxPartBytes: 20, completesAgain: false })
  const TOO_LARGE = { code: 'EntityTooLarge', status: 400 }
  expect(await refusalOf(client.putObject({ ...key, Body: Buffer.alloc(21) }))).toEqual(TOO_LARGE)
  const target = { ...key, UploadId: (await client.createMultipartUpload(key)).UploadId }
  const part = (PartNumber: number, size: number) =>
    client.uploadPart({ ...target, PartNumber, Body: Buffer.alloc(size) })
  expect(await refusalOf(part(1, 21))).toEqual(TOO_LARGE)
  const last = { PartNumber: 2, ETag: (await part(2, 1)).ETag }
  const completed = async (size: number) =>
    client.completeMultipartUpload({
      ...target,
      MultipartUpload: { Parts: [{ PartNumber: 1, ETag: (await part(1, size)).ETag }, last] },
    })
  expect((await refusalOf(completed(9))).code).toBe('EntityTooSmall')
  await completed(10)
  expect((await refusalOf(completed(10))).code).toBe('NoSuchUpload')
})

test('a header or a parameter that it does not know is refused, not ignored', async () => {
  const { client, key } = await useEmulator()
  const NOT_IMPLEMENTED = { code: 'NotImplemented', status: 501 }
  expect(await refusalOf(client.putObject({ ...key, Body: 'x', ACL: 'private' }))).toEqual(NOT_IMPLEMENTED)
  expect(await refusalOf(client.getObject({ ...key, PartNumber: 1 }))).toEqual(NOT_IMPLEMENTED)
  expect(await refusalOf(client.getObjectAcl(key))).toEqual(NOT_IMPLEMENTED)
})

test.for([
  ['a chunk that is longer than it says', 'InvalidRequest', '5\r\nhelloNO\r\n'],
  ['a chunk without a size', 'InvalidRequest', 'hello\r\n'],
  ['no last chunk', 'IncompleteBody', '5\r\nhello\r\n'],
  [
    'fewer bytes than announced',
    'IncompleteBody',
    '5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n',
  ],
  ['another checksum behind it', 'InvalidRequest', '5\r\nhello\r\n0\r\nx-amz-checksum-sha1:AAAA\r\n\r\n'],
] as const)('a stream with %s is %s', async ([, code, framed]) => {
  const { s3, key } = await useEmulator()
  const client = clientAt(s3.url, s3.credentials, { requestChecksumCalculation: 'WHEN_SUPPORTED' })
  const ContentLength = code === 'IncompleteBody' ? 6 : 5
  tampering(client, (request) => {
    request.body = Readable.from([Buffer.from(framed)])
  })
  const put = client.putObject({ ...key, Body: Readable.from([Buffer.alloc(ContentLength)]), ContentLength })
  expect(await refusalOf(put)).toEqual({ code, status: 400 })
  expect(s3.objects()).toEqual([])
})

test('a stream in a framing that is broken gets its answer, however much of it is still to come', async () => {
  const { s3, key } = await useEmulator()
  const client = clientAt(s3.url, s3.credentials, { requestChecksumCalculation: 'WHEN_SUPPORTED' })
  tampering(client, (request) => {
    request.body = Readable.from([Buffer.from('5\r\nhelloNO\r\n'), BYTES])
  })
  const put = client.putObject({ ...key, Body: Readable.from([BYTES]), ContentLength: BYTES.length })
  expect((await refusalOf(put)).status).toBe(400)
})

test('who waits for 100 Continue is refused without having to send the body', async () => {
  const { s3 } = await useEmulator()
  const { port } = new URL(s3.url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.write(
    'PUT /uploads/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n',
  )
  const pieces: Buffer[] = []
  for await (const piece of socket) pieces.push(piece as Buffer)
  expect(Buffer.concat(pieces).toString()).toMatch(/^HTTP\/1.1 403 Forbidden[^]*<Code>AccessDenied</)
})

test('as a process of its own it says where it is, keeps its folder, and ends with SIGTERM', async () => {
  const dir = await useFolder()
  const credentials = { accessKeyId: 'AK', secretAccessKey: 'SK' }
  const main = path.join(import.meta.dirname, '..', 'support', 's3', 'main.ts')
  const options = ['--dir', dir, '--bucket', 'demo', '--access-key', 'AK', '--secret-key', 'SK']
  const child = spawn(process.execPath, ['--import', 'tsx', main, ...options], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [url] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  await clientAt(url, credentials).putObject({ Bucket: 'demo', Key: 'k', Body: 'x' })
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  expect(await exited).toEqual([0, null])
  const { s3 } = await useEmulator({ dir, bucket: 'demo' })
  expect(s3.objects()).toMatchObject([{ key: 'k', size: 1 }])
})

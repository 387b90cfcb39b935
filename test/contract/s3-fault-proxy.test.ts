import { S3 } from '@aws-sdk/client-s3'
import { expect, onTestFinished, test, type TestContext } from 'vitest'
import { bytesOf } from '../support/bytes.ts'
import { useS3 } from '../support/s3/endpoint.ts'
import { startFaultProxy } from '../support/s3/fault-proxy.ts'
import { eventually } from '../support/slow-request.ts'
import { DIFFERENCES } from './s3-differences.ts'
import { bytesIn, complete, md5, newKey, newUpload, putParts, refusalOf } from './s3-fixture.ts'

const BYTES = bytesOf(300_000)

/** A bucket, and a client whose requests go through a proxy and are not tried again. */
async function useProxy({ skip }: TestContext, maxAttempts = 1) {
  const s3 = await useS3()
  if (!s3.url?.startsWith('http:')) return skip(`${s3.engine} speaks TLS, which can not be proxied`)
  const proxy = await startFaultProxy(s3.url)
  onTestFinished(() => proxy.close())
  const client = new S3({ ...s3.clientConfig, endpoint: proxy.url, maxAttempts })
  onTestFinished(() => client.destroy())
  const direct = s3.client
  const differences = DIFFERENCES[s3.engine]
  return { proxy, client, direct, key: newKey({ s3, differences }), fixture: { s3, differences } }
}

const isThere = async (client: S3, key: Parameters<S3['headObject']>[0]) =>
  await client.headObject(key).then(
    () => true,
    () => false,
  )

test('without a rule everything goes through, and is in the log', async (ctx) => {
  const { proxy, client, key } = await useProxy(ctx)
  await client.putObject({ ...key, Body: BYTES })
  expect(md5(await bytesIn(await client.getObject(key)))).toBe(md5(BYTES))
  expect((await refusalOf(client.getObject({ ...key, Key: `${key.Key}x` }))).code).toBe('NoSuchKey')
  const seen = proxy.requests.map(({ operation, status, forwarded, fault }) => [
    operation,
    status,
    forwarded,
    fault,
  ])
  expect(seen).toEqual([
    ['PutObject', 200, true, null],
    ['GetObject', 200, true, null],
    ['GetObject', 404, true, null],
  ])
  expect(proxy.counts()).toEqual({ PutObject: 1, GetObject: 2 })
  proxy.reset()
  expect(proxy.count()).toBe(0)
})

test('an answer of its own never reaches S3, and comes as often as the rule says', async (ctx) => {
  const { proxy, client, direct, key } = await useProxy(ctx)
  const rule = proxy.rule({
    operation: 'PutObject',
    skip: 1,
    times: 1,
    answer: { status: 503, code: 'SlowDown' },
  })
  await client.putObject({ ...key, Body: '1' })
  expect(await refusalOf(client.putObject({ ...key, Body: '2' }))).toEqual({ code: 'SlowDown', status: 503 })
  expect((await bytesIn(await direct.getObject(key))).toString()).toBe('1')
  await client.putObject({ ...key, Body: '3' })
  expect([rule.hits(), proxy.requests.map(({ forwarded }) => forwarded)]).toEqual([1, [true, false, true]])
})

test('a client that tries again gets through two refusals', async (ctx) => {
  const { proxy, client, key } = await useProxy(ctx, 3)
  proxy.rule({ method: 'PUT', url: /\/key/, times: 2, answer: { status: 500, code: 'InternalError' } })
  await client.putObject({ ...key, Body: BYTES })
  expect(proxy.requests.map(({ status }) => status)).toEqual([500, 500, 200])
})

test('a completion may fail with 200, and the upload is still there', async (ctx) => {
  const { proxy, client, fixture } = await useProxy(ctx)
  const target = await newUpload(fixture)
  const Parts = await putParts(fixture, target, [BYTES])
  proxy.rule({
    operation: 'CompleteMultipartUpload',
    times: 1,
    answer: { status: 200, code: 'InternalError' },
  })
  const completed = () => client.completeMultipartUpload({ ...target, MultipartUpload: { Parts } })
  expect((await refusalOf(completed())).code).toBe('InternalError')
  await completed()
})

test('a connection that is reset at once brings nothing to S3', async (ctx) => {
  const { proxy, client, direct, key } = await useProxy(ctx)
  proxy.rule({ times: 1, resetAfterBytes: 0 })
  await expect(client.putObject({ ...key, Body: BYTES })).rejects.toMatchObject({ code: 'ECONNRESET' })
  expect(proxy.requests[0]).toMatchObject({ forwarded: false, status: null })
  expect(await isThere(direct, key)).toBe(false)
})

test('a connection that is reset in the middle of the body stores nothing', async (ctx) => {
  const { proxy, client, direct, key } = await useProxy(ctx)
  proxy.rule({ times: 1, resetAfterBytes: 100_000 })
  await expect(client.putObject({ ...key, Body: BYTES })).rejects.toThrow()
  expect(proxy.requests[0]).toMatchObject({ forwarded: true, status: null })
  expect(await isThere(direct, key)).toBe(false)
  await client.putObject({ ...key, Body: BYTES })
  expect(await isThere(direct, key)).toBe(true)
})

test('an answer that is lost leaves S3 with what it was asked for', async (ctx) => {
  const { proxy, client, direct, fixture } = await useProxy(ctx)
  const target = await newUpload(fixture)
  const Parts = await putParts(fixture, target, [BYTES])
  proxy.rule({ operation: ['CompleteMultipartUpload'], times: 1, loseAnswer: true })
  const completed = client.completeMultipartUpload({ ...target, MultipartUpload: { Parts } })
  await expect(completed).rejects.toMatchObject({ code: 'ECONNRESET' })
  expect(await isThere(direct, { Bucket: target.Bucket, Key: target.Key })).toBe(true)
})

test('a request that is delayed comes after one that is not', async (ctx) => {
  const { proxy, client, direct, key } = await useProxy(ctx)
  proxy.rule({ operation: 'PutObject', times: 1, delayMs: 500 })
  const late = client.putObject({ ...key, Body: 'late' })
  await eventually(() => proxy.count('PutObject') === 1, 'the first request is on its way')
  await client.putObject({ ...key, Body: 'early' })
  await late
  expect((await bytesIn(await direct.getObject(key))).toString()).toBe('late')
})

test('a request that is held is not seen by S3 until it is released', async (ctx) => {
  const { proxy, client, direct, key } = await useProxy(ctx)
  proxy.rule({ times: 1, hold: 'request' })
  const put = client.putObject({ ...key, Body: BYTES })
  await eventually(() => proxy.held() === 1, 'a request is held')
  expect(await isThere(direct, key)).toBe(false)
  proxy.release()
  await put
  expect(await isThere(direct, key)).toBe(true)
})

test('an answer that is held comes after S3 has done its work', async (ctx) => {
  const { proxy, client, direct, key } = await useProxy(ctx)
  proxy.rule({ times: 1, hold: 'answer' })
  const put = client.putObject({ ...key, Body: BYTES })
  await eventually(() => proxy.held() === 1, 'an answer is held')
  expect(await isThere(direct, key)).toBe(true)
  proxy.clear()
  expect((await put).$metadata.httpStatusCode).toBe(200)
})

test('a client may give up on what is held, and others are served', async (ctx) => {
  const { proxy, client, direct, key } = await useProxy(ctx)
  proxy.rule({ times: 1, hold: 'request' })
  const aborted = new AbortController()
  const put = client.putObject({ ...key, Body: BYTES }, { abortSignal: aborted.signal })
  const failed = put.catch((error: Error) => error.name)
  await eventually(() => proxy.held() === 1, 'a request is held')
  aborted.abort()
  expect(await failed).toBe('AbortError')
  await eventually(() => proxy.held() === 0, 'nothing is held any more')
  await client.putObject({ ...key, Body: 'x' })
  expect((await bytesIn(await direct.getObject(key))).toString()).toBe('x')
})

test.for([0, 1000, 200_000])(
  'a body that is cut after %i bytes is not taken for a whole one',
  async (cut, ctx) => {
    const { proxy, client, key } = await useProxy(ctx)
    await client.putObject({ ...key, Body: BYTES })
    proxy.rule({ operation: 'GetObject', times: 1, truncateAfterBytes: cut })
    const { Body, ContentLength } = await client.getObject(key)
    expect(ContentLength).toBe(BYTES.length)
    const pieces: Buffer[] = []
    const read = async () => {
      for await (const piece of Body as AsyncIterable<Buffer>) pieces.push(piece)
    }
    await expect(read()).rejects.toThrow()
    expect(md5(Buffer.concat(pieces))).toBe(md5(BYTES.subarray(0, cut)))
  },
)

test('a body that is slowed down arrives whole', async (ctx) => {
  const { proxy, client, direct, key } = await useProxy(ctx)
  proxy.rule({ operation: 'PutObject', bytesPerSecond: 2_000_000 })
  await client.putObject({ ...key, Body: BYTES })
  expect(md5(await bytesIn(await direct.getObject(key)))).toBe(md5(BYTES))
})

test('several faults of one rule happen to one request', async (ctx) => {
  const { proxy, client, direct, fixture } = await useProxy(ctx)
  const target = await newUpload(fixture)
  proxy.rule({ operation: 'UploadPart', times: 1, bytesPerSecond: 5_000_000, loseAnswer: true })
  await expect(client.uploadPart({ ...target, PartNumber: 1, Body: BYTES })).rejects.toThrow()
  const { Parts = [] } = await direct.listParts(target)
  expect(Parts.map(({ Size }) => Size)).toEqual([BYTES.length])
  await complete(fixture, target, [{ PartNumber: 1, ETag: Parts[0]?.ETag ?? '' }])
})

test('what was held may be refused in the end', async (ctx) => {
  const { proxy, client, direct, key } = await useProxy(ctx)
  proxy.rule({ times: 1, hold: 'request', answer: { status: 503, code: 'SlowDown' } })
  const put = refusalOf(client.putObject({ ...key, Body: BYTES }))
  await eventually(() => proxy.held() === 1, 'a request is held')
  proxy.release()
  expect(await put).toEqual({ code: 'SlowDown', status: 503 })
  expect(await isThere(direct, key)).toBe(false)
})

test('of several rules the first that fits counts, until it is removed or used up', async (ctx) => {
  const { proxy, client, key } = await useProxy(ctx)
  const first = proxy.rule({ operation: 'HeadObject', answer: { status: 500, code: 'InternalError' } })
  proxy.rule({ answer: { status: 503, code: 'SlowDown' } })
  const statuses = async () => [
    (await refusalOf(client.headObject(key))).status,
    (await refusalOf(client.getObject(key))).status,
  ]
  expect(await statuses()).toEqual([500, 503])
  first.remove()
  expect(await statuses()).toEqual([503, 503])
  proxy.clear()
  expect(await statuses()).toEqual([404, 404])
})

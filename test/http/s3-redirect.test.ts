import { expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, patchAt, TUS } from '../support/client.ts'
import { ALICE } from '../support/server.ts'
import { useS3Server } from '../support/s3-server.ts'
import { createByTus, natively } from '../support/s3-uploads.ts'

const bytes = bytesOf(6 * MIB)
const HEADERS = { 'X-API-Key': ALICE }
const base64 = (text: string) => Buffer.from(text).toString('base64')

async function useRedirects(env: Record<string, string> = {}, content = bytes) {
  const world = await useS3Server({ DOWNLOAD_REDIRECT: 'presigned', ...env })
  const call = clientOf(world.server.url)
  const metadata = `filename ${base64('fïlm "1".bin')},filetype ${base64('video/mp4')}`
  const path = await createByTus(call, content.length, { 'Upload-Metadata': metadata })
  if (content.length > 0) await call('PATCH', path, { headers: patchAt(0), body: content })
  const get = (headers: Record<string, string> = {}, method = 'GET') =>
    fetch(world.server.url + path, { method, redirect: 'manual', headers: { ...HEADERS, ...headers } })
  return { ...world, call, path, get }
}

test('a download is a redirect to S3, which gives the bytes under our headers', async () => {
  const { get, s3 } = await useRedirects()
  s3.reset()
  const redirect = await get()
  expect([redirect.status, redirect.headers.get('cache-control'), s3.count()]).toEqual([302, 'no-store', 0])
  const answer = await fetch(redirect.headers.get('location') ?? '')
  expect(sha256(Buffer.from(await answer.arrayBuffer()))).toBe(sha256(bytes))
  expect(answer.headers.get('content-type')).toBe('video/mp4')
  expect(answer.headers.get('content-disposition')).toBe(
    'inline; filename="f_lm _1_.bin"; filename*=UTF-8\'\'f%C3%AFlm%20%221%22.bin',
  )
  expect(answer.headers.get('cache-control')).toBe('private, no-cache')
})

test('it gives that one object, for that long, and nothing else', async () => {
  const { get } = await useRedirects({ PRESIGNED_URL_SECONDS: '60' })
  const url = new URL((await get()).headers.get('location') ?? '')
  expect(url.searchParams.get('X-Amz-Expires')).toBe('60')
  expect((await fetch(url, { method: 'DELETE' })).status).toBe(403)
  url.pathname += 'x'
  expect((await fetch(url)).status).toBe(403)
})

test('a client that follows it gets the range that it asked for', async () => {
  const { server, path } = await useRedirects()
  const answer = await fetch(server.url + natively(path) + '/download', {
    headers: { ...HEADERS, Range: 'bytes=1000-1999' },
  })
  expect([answer.status, answer.redirected]).toEqual([206, true])
  expect(Buffer.from(await answer.arrayBuffer())).toEqual(bytes.subarray(1000, 2000))
})

test('HEAD is answered by us, without a question to S3', async () => {
  const { call, path, s3 } = await useRedirects()
  s3.reset()
  const head = await call('HEAD', `${natively(path)}/download`)
  expect([head.status, head.headers.get('content-length'), s3.count()]).toEqual([
    200,
    String(bytes.length),
    0,
  ])
})

test('what speaks of our ETag is answered by us, and what speaks of another by S3', async () => {
  const { get, call, path } = await useRedirects()
  const etag = (await call('HEAD', `${natively(path)}/download`)).headers.get('etag') ?? ''
  const statuses = async (headers: Record<string, string>) => {
    const answer = await get(headers)
    await answer.arrayBuffer()
    return answer.status
  }
  expect(await statuses({ 'If-None-Match': etag })).toBe(304)
  expect(await statuses({ 'If-Match': etag })).toBe(200)
  expect(await statuses({ 'If-Range': etag, Range: 'bytes=5-' })).toBe(206)
  for (const name of ['If-None-Match', 'If-Match', 'If-Range'])
    expect(await statuses({ [name]: '"another"' })).toBe(302)
  expect(await statuses({ 'If-Unmodified-Since': new Date(0).toUTCString() })).toBe(302)
})

test('several ranges, which S3 does not know, are answered by us', async () => {
  const { get } = await useRedirects()
  const answer = await get({ Range: 'bytes=0-0,5-6' })
  expect([answer.status, answer.headers.get('content-type')]).toEqual([
    206,
    expect.stringMatching(/^multipart\/byteranges/),
  ])
})

test('an empty file, which has no object, is answered by us', async () => {
  const { get } = await useRedirects({}, Buffer.alloc(0))
  const answer = await get()
  expect([answer.status, answer.headers.get('content-length')]).toEqual([200, '0'])
})

test('nobody is sent to S3 for a file that is not complete, or not theirs', async () => {
  const { server, call } = await useRedirects()
  const path = await createByTus(call, 10)
  await call('PATCH', path, { headers: patchAt(0), body: 'hello' })
  expect((await call('GET', path, { headers: TUS })).status).toBe(409)
  const stranger = clientOf(server.url, 'bob-key')
  expect((await stranger('GET', path)).status).toBe(403)
})

test('without being told so, downloads go through us', async () => {
  const { get } = await useRedirects({ DOWNLOAD_REDIRECT: 'off' })
  expect((await get()).status).toBe(200)
})

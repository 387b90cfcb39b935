import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS } from '../support/client.ts'
import { useS3Server } from '../support/s3-server.ts'
import { createByTus, natively, statusOf } from '../support/s3-uploads.ts'
import { eventually } from '../support/slow-request.ts'

const CHUNK = 5 * MIB

test.each([
  ['a whole chunk', CHUNK],
  ['less than a chunk', 77],
])('a part that did not count leaves nothing beside a file that turns out to be %s', async (_what, size) => {
  const { server, s3 } = await useS3Server()
  const call = clientOf(server.url)
  const path = await createByTus(call, null)
  const bytes = bytesOf(CHUNK)
  const wrong = { 'Upload-Checksum': `sha1 ${createHash('sha1').digest('base64')}` }
  expect((await call('PATCH', path, { headers: { ...patchAt(0), ...wrong }, body: bytes })).status).toBe(460)
  expect(s3.uploads()).toHaveLength(1)
  const file = bytes.subarray(0, size)
  await call('PATCH', path, { headers: patchAt(0), body: file.subarray(0, 50) })
  const rest = { ...patchAt(50), 'Upload-Length': String(size) }
  expect((await call('PATCH', path, { headers: rest, body: file.subarray(50) })).status).toBe(204)
  expect([await statusOf(call, path), s3.objects().length, s3.uploads()]).toEqual(['COMPLETED', 1, []])
  expect(sha256(await download(server.url, path))).toBe(sha256(file))
})

test('a multipart upload whose creation got no answer is gone with the file', async () => {
  const { server, s3, proxy } = await useS3Server()
  const call = clientOf(server.url)
  const bytes = bytesOf(CHUNK + 1)
  proxy.rule({ operation: 'CreateMultipartUpload', loseAnswer: true, times: 1 })
  const path = await createByTus(call, bytes.length)
  expect((await call('PATCH', path, { headers: patchAt(0), body: bytes })).status).toBe(204)
  expect([await statusOf(call, path), s3.uploads().length]).toEqual(['COMPLETED', 1])
  expect((await call('DELETE', path, { headers: TUS })).status).toBe(204)
  expect([s3.objects(), s3.uploads()]).toEqual([[], []])
})

test('a final upload that fails because a part was changed meanwhile leaves no object', async () => {
  const { server, s3, proxy } = await useS3Server()
  const call = clientOf(server.url)
  const part = await createByTus(call, 8, { 'Upload-Concat': 'partial' })
  await call('PATCH', part, { headers: patchAt(0), body: 'a part, ' })
  const before = s3.objects()
  proxy.rule({ operation: 'PutObject', hold: 'answer' })
  const headers = { ...TUS, 'Upload-Concat': `final;${part} ${part}` }
  const final = call('POST', '/files', { headers })
  await eventually(() => proxy.held() > 0, 'the parts are being joined')
  expect((await call('DELETE', `${natively(part)}/chunks/0`)).status).toBe(204)
  proxy.clear()
  expect((await final).status).toBe(409)
  expect(s3.objects()).toEqual(before)
})

test('a file that comes with its creation and is lost at the end was not created', async () => {
  const { server, s3, proxy } = await useS3Server()
  const call = clientOf(server.url)
  const body = bytesOf(2 * CHUNK + 1)
  proxy.rule({ operation: 'CompleteMultipartUpload', hold: 'request' })
  const { 'Content-Type': type = '' } = patchAt(0)
  const headers = { ...TUS, 'Content-Type': type, 'Upload-Length': String(body.length) }
  const creation = call('POST', '/files', { headers, body })
  await eventually(() => proxy.held() > 0, 'the upload is being completed')
  s3.abortUpload(s3.uploads()[0]?.uploadId ?? '')
  proxy.clear()
  const answer = await creation
  expect([answer.status, answer.headers.get('location')]).toEqual([409, null])
  expect((await call('GET', '/v1/uploads')).json.uploads).toEqual([])
  expect([s3.objects(), s3.uploads()]).toEqual([[], []])
})

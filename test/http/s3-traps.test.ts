import { S3 } from '@aws-sdk/client-s3'
import { describe, expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS } from '../support/client.ts'
import { s3Env } from '../support/s3-env.ts'
import { useS3Server, type S3World } from '../support/s3-server.ts'
import { byTus, createByInit, createByTus, natively, offsetOf, statusOf } from '../support/s3-uploads.ts'
import { startTestServer } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'

const CHUNK = 5 * MIB
const bytes = bytesOf(2 * CHUNK + 1000)
const chunk = (index: number) => bytes.subarray(index * CHUNK, (index + 1) * CHUNK)

describe('CompleteMultipartUpload', () => {
  test.each([
    ['fails', { status: 500, code: 'InternalError' }],
    ['fails with 200 and an error in its body', { status: 200, code: 'InternalError' }],
  ])('that %s leaves the upload not completed, and the next try completes it', async (_what, answer) => {
    const { server, proxy, s3 } = await useS3Server({ MAX_RETRIES: '1' })
    const call = clientOf(server.url)
    const path = await createByInit(call, { file_size: bytes.length, chunk_size: CHUNK })
    for (const index of [0, 1, 2]) await call('PUT', `${path}/chunks/${index}`, { body: chunk(index) })
    const rule = proxy.rule({ operation: 'CompleteMultipartUpload', answer })
    const failed = await call('POST', `${path}/complete`)
    expect([failed.status, failed.json.error_code]).toEqual([503, 'unavailable'])
    expect([rule.hits(), await statusOf(call, path), s3.objects()]).toEqual([2, 'IN_PROGRESS', []])
    expect((await call('HEAD', byTus(path), { headers: TUS })).status).toBe(423)
    rule.remove()
    expect((await call('POST', `${path}/complete`)).json.status).toBe('COMPLETED')
    expect(sha256(await download(server.url, `${path}/download`))).toBe(sha256(bytes))
  })

  test.each([
    ['completes it again', true],
    ['does not know it any more', false],
  ])('whose answer is lost is recognised by an engine that %s', async (_what, completesAgain) => {
    const { server, proxy, s3 } = await useS3Server({}, { completesAgain })
    const call = clientOf(server.url)
    proxy.rule({ operation: 'CompleteMultipartUpload', loseAnswer: true, times: 1 })
    const path = await createByTus(call, bytes.length)
    expect((await call('PATCH', path, { headers: patchAt(0), body: bytes })).status).toBe(204)
    expect(await statusOf(call, path)).toBe('COMPLETED')
    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
    // The object is known by its ETag: nothing of it has to be read.
    expect(s3.count('GetObject')).toBe(Math.ceil(bytes.length / (8 * MIB)))
  })

  test('whose answer is lost, and whose ETag says nothing, is recognised by its bytes', async () => {
    const { server, proxy } = await useS3Server(
      { S3_SSE: 'aws:kms', MAX_RETRIES: '1' },
      { completesAgain: false },
    )
    const call = clientOf(server.url)
    proxy.rule({ operation: 'CompleteMultipartUpload', loseAnswer: true, times: 1 })
    const path = await createByTus(call, bytes.length)
    expect((await call('PATCH', path, { headers: patchAt(0), body: bytes })).status).toBe(204)
    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
  })
})

describe('parts that are not the ones that were acknowledged', () => {
  /** Puts a part behind the server's back, and may complete the upload with it. */
  const overwrite = async ({ s3 }: S3World, body: Buffer, completes = false) => {
    const { url: endpoint, bucket: Bucket, region, credentials } = s3
    const client = new S3({
      endpoint,
      region,
      credentials,
      forcePathStyle: true,
      requestChecksumCalculation: 'WHEN_REQUIRED',
    })
    const [upload] = s3.uploads()
    const at = { Bucket, Key: upload?.key ?? '', UploadId: upload?.uploadId ?? '' }
    await client.uploadPart({ ...at, PartNumber: 1, Body: body })
    const Parts = s3
      .uploads()[0]
      ?.parts.map(({ partNumber: PartNumber, etag: ETag }) => ({ PartNumber, ETag }))
    if (completes) await client.completeMultipartUpload({ ...at, MultipartUpload: { Parts } })
    client.destroy()
  }
  const uploaded = async (env: Record<string, string>) => {
    const world = await useS3Server(env, { completesAgain: false })
    const call = clientOf(world.server.url)
    const path = await createByInit(call, { file_size: bytes.length, chunk_size: CHUNK })
    for (const index of [0, 1, 2]) await call('PUT', `${path}/chunks/${index}`, { body: chunk(index) })
    return { world, call, path }
  }

  test('are taken when they are the same bytes under another ETag', async () => {
    const { world, call, path } = await uploaded({ S3_SSE: 'aws:kms' })
    await overwrite(world, chunk(0))
    expect((await call('POST', `${path}/complete`)).json.status).toBe('COMPLETED')
    expect(sha256(await download(world.server.url, `${path}/download`))).toBe(sha256(bytes))
  })

  test.each([
    ['of the same length', bytesOf(CHUNK, 77)],
    ['of another length', bytesOf(CHUNK - 1, 77)],
  ])('fail the upload when they are other bytes %s, and no object stays', async (_what, body) => {
    const { world, call, path } = await uploaded({})
    await overwrite(world, body)
    const answer = await call('POST', `${path}/complete`)
    expect([answer.status, answer.json.error_code]).toEqual([409, 'conflict'])
    expect(answer.json.detail).toMatch(/The storage has lost this upload/)
    expect([await statusOf(call, path), world.s3.objects()]).toEqual(['FAILED', []])
    expect((await call('POST', `${path}/complete`)).status).toBe(409)
    expect((await call('DELETE', path)).status).toBe(204)
    expect(world.s3.uploads()).toEqual([])
  })

  test('fail the upload also when they made an object before it was noticed', async () => {
    const { world, call, path } = await uploaded({})
    await overwrite(world, bytesOf(CHUNK, 77), true)
    expect(world.s3.objects().map(({ size }) => size)).toEqual([bytes.length])
    expect((await call('POST', `${path}/complete`)).status).toBe(409)
    expect([await statusOf(call, path), world.s3.objects()]).toEqual(['FAILED', []])
  })
})

describe('a multipart upload that was aborted behind our back', () => {
  const aborted = async () => {
    const world = await useS3Server()
    const call = clientOf(world.server.url)
    const path = await createByTus(call, bytes.length)
    await call('PATCH', path, { headers: patchAt(0), body: chunk(0) })
    const [upload] = world.s3.uploads()
    world.s3.abortUpload(upload?.uploadId ?? '')
    return { ...world, call, path }
  }

  test('fails the upload at the next PATCH, with a reason', async () => {
    const { call, path } = await aborted()
    const patch = await call('PATCH', path, { headers: patchAt(CHUNK), body: bytes.subarray(CHUNK) })
    expect([patch.status, patch.text]).toEqual([409, expect.stringMatching(/has lost this upload.*aborted/)])
    expect(await statusOf(call, path)).toBe('FAILED')
    expect((await call('HEAD', path, { headers: TUS })).status).toBe(410)
  })

  test('fails the upload at the next chunk, with a reason', async () => {
    const { call, path } = await aborted()
    const put = await call('PUT', `${natively(path)}/chunks/2`, { body: chunk(2) })
    expect([put.status, put.json.detail]).toEqual([409, expect.stringMatching(/aborted/)])
    expect(await statusOf(call, path)).toBe('FAILED')
  })

  test('is found out also where the engine stumbles over it', async () => {
    const { server, s3, proxy } = await useS3Server({ MAX_RETRIES: '1' })
    const call = clientOf(server.url)
    const path = await createByInit(call, { file_size: bytes.length, chunk_size: CHUNK })
    for (const index of [0, 1, 2]) await call('PUT', `${path}/chunks/${index}`, { body: chunk(index) })
    s3.abortUpload(s3.uploads()[0]?.uploadId ?? '')
    proxy.rule({ operation: 'CompleteMultipartUpload', answer: { status: 500, code: 'InternalError' } })
    expect((await call('POST', `${path}/complete`)).status).toBe(409)
    expect(await statusOf(call, path)).toBe('FAILED')
  })

  test('between the last part and the completion fails it, and nothing can be downloaded', async () => {
    const { server, s3 } = await useS3Server()
    const call = clientOf(server.url)
    const path = await createByInit(call, { file_size: bytes.length, chunk_size: CHUNK })
    for (const index of [0, 1, 2]) await call('PUT', `${path}/chunks/${index}`, { body: chunk(index) })
    s3.abortUpload(s3.uploads()[0]?.uploadId ?? '')
    const answer = await call('POST', `${path}/complete`)
    expect([answer.status, answer.json.detail]).toEqual([409, expect.stringMatching(/aborted/)])
    expect([await statusOf(call, path), s3.objects()]).toEqual(['FAILED', []])
    expect((await call('GET', `${path}/download`)).status).toBe(409)
  })
})

describe('DELETE', () => {
  const others = async (world: S3World) => {
    const call = clientOf(world.server.url)
    const finished = await createByTus(call, 5)
    await call('PATCH', finished, { headers: patchAt(0), body: 'hello' })
    const unfinished = await createByTus(call, bytes.length)
    await call('PATCH', unfinished, { headers: patchAt(0), body: bytes.subarray(0, CHUNK + 7) })
    return call
  }
  const contentsOf = ({ s3 }: S3World) => [
    s3.objects().map(({ key }) => key),
    s3.uploads().map(({ uploadId }) => uploadId),
  ]

  test.each([
    ['with parts and a piece', bytes.subarray(0, CHUNK + 1000)],
    ['with a piece alone', bytes.subarray(0, 1000)],
    ['without a byte', Buffer.alloc(0)],
    ['that is finished', bytes],
  ])('of an upload %s removes all of it and nothing else', async (_what, sent) => {
    const world = await useS3Server()
    const call = await others(world)
    const before = contentsOf(world)
    const path = await createByTus(call, bytes.length)
    if (sent.length > 0) await call('PATCH', path, { headers: patchAt(0), body: sent })
    expect(contentsOf(world)).not.toEqual(sent.length > 0 ? before : [])
    expect((await call('DELETE', path, { headers: TUS })).status).toBe(204)
    expect(contentsOf(world)).toEqual(before)
  })

  test('of an upload takes multipart uploads along that never came to count, and none of other keys', async () => {
    const world = await useS3Server()
    const { s3, proxy } = world
    const call = await others(world)
    const before = contentsOf(world)
    const path = await createByTus(call, bytes.length)
    // The answer is lost, so that a second multipart upload is created.
    proxy.rule({ operation: 'CreateMultipartUpload', loseAnswer: true, times: 1 })
    await call('PATCH', path, { headers: patchAt(0), body: chunk(0) })
    expect(s3.uploads(`uploads/${path.replace('/files/', '')}`)).toHaveLength(2)
    await call('DELETE', path, { headers: TUS })
    expect(contentsOf(world)).toEqual(before)
  })

  test('that the storage refuses is done by the reaper, once it can', async () => {
    const { server, proxy, s3 } = await useS3Server({ MAX_RETRIES: '0', LEASES: 'on' })
    const call = clientOf(server.url)
    const path = await createByTus(call, 5)
    await call('PATCH', path, { headers: patchAt(0), body: 'hello' })
    proxy.rule({ operation: 'DeleteObject', answer: { status: 503, code: 'SlowDown' } })
    expect((await call('DELETE', path, { headers: TUS })).status).toBe(503)
    expect([(await call('HEAD', path, { headers: TUS })).status, s3.objects().length]).toEqual([404, 1])
    // A process looks at what is left as soon as it starts.
    proxy.clear()
    const next = await startTestServer({ ...s3Env(s3), LEASES: 'on' }, server.root)
    await eventually(() => s3.objects().length === 0, 'the object is gone')
    await next.close()
  })
})

describe('a staged piece', () => {
  test('is there until the ledger names its successor', async () => {
    const { server, proxy, s3 } = await useS3Server({ MAX_RETRIES: '0' })
    const call = clientOf(server.url)
    const path = await createByTus(call, bytes.length)
    await call('PATCH', path, { headers: patchAt(0), body: bytes.subarray(0, 1000) })
    const [piece] = s3.objects('uploads/staged/')
    // What comes next is put, but its answer is lost: it does not count.
    const rule = proxy.rule({ operation: ['UploadPart', 'PutObject'], loseAnswer: true })
    for (const end of [2000, CHUNK])
      expect(
        (await call('PATCH', path, { headers: patchAt(1000), body: bytes.subarray(1000, end) })).status,
      ).toBe(503)
    expect(s3.objects('uploads/staged/').map(({ key }) => key)).toContain(piece?.key)
    expect(await offsetOf(call, path)).toBe(1000)
    rule.remove()
    expect((await call('PATCH', path, { headers: patchAt(1000), body: bytes.subarray(1000) })).status).toBe(
      204,
    )
    expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
    await eventually(() => s3.objects('uploads/staged/').length === 0, 'no piece is left')
  })

  test('whose checksum did not fit is dropped, and the one before it is not', async () => {
    const { server, s3 } = await useS3Server()
    const call = clientOf(server.url)
    const path = await createByTus(call, bytes.length)
    await call('PATCH', path, { headers: patchAt(0), body: bytes.subarray(0, 1000) })
    const before = s3.objects().map(({ key }) => key)
    const wrong = { ...patchAt(1000), 'Upload-Checksum': `sha1 ${Buffer.alloc(20).toString('base64')}` }
    expect((await call('PATCH', path, { headers: wrong, body: bytes.subarray(1000, 2000) })).status).toBe(460)
    await eventually(() => s3.objects().length === 1, 'the piece that does not count is dropped')
    expect(s3.objects().map(({ key }) => key)).toEqual(before)
    expect(await offsetOf(call, path)).toBe(1000)
  })
})

import { expect, test } from 'vitest'
import { bytesOf } from '../support/bytes.ts'
import { bytesIn, inDocument, md5, newKey, refusalOf, type Current } from './s3-fixture.ts'

const BYTES = bytesOf(100_000)

/** PutObject, GetObject, HeadObject, CopyObject, DeleteObject, and what an object has besides its bytes. */
export function keepsObjects(current: Current): void {
  const FAILED = { code: 'PreconditionFailed', status: 412 }
  const OTHER = `"${md5(Buffer.from('x'))}"`

  test('an object comes back with its bytes, its ETag and its metadata', async () => {
    const { client } = current().s3
    const key = newKey(current())
    const metadata = {
      ContentType: 'text/x',
      CacheControl: 'no-store',
      ContentDisposition: 'attachment; filename="a b"',
      Metadata: { colour: 'blue green' },
    }
    const put = await client.putObject({ ...key, Body: BYTES, ...metadata })
    expect(put.ETag).toBe(`"${md5(BYTES)}"`)
    const got = await client.getObject(key)
    expect(md5(await bytesIn(got))).toBe(md5(BYTES))
    expect(got).toMatchObject({ ...metadata, ETag: put.ETag, ContentLength: BYTES.length })
    expect(await client.headObject(key)).toMatchObject({ ...metadata, ContentLength: BYTES.length })
  })

  test('an object of no bytes is an object', async () => {
    const { client } = current().s3
    const key = newKey(current())
    await client.putObject({ ...key, Body: Buffer.alloc(0) })
    expect(await client.headObject(key)).toMatchObject({
      ContentLength: 0,
      ETag: `"${md5(Buffer.alloc(0))}"`,
    })
    expect(await bytesIn(await client.getObject(key))).toHaveLength(0)
  })

  test.for(['a b+c&d=e.txt', 'ünï/日本.bin', "x%2Fy~!*'()", 'a//b', 'dot/../x', '😀'])(
    'the key %s is kept as it is',
    async (name) => {
      const { client } = current().s3
      const key = newKey(current(), name)
      await client.putObject({ ...key, Body: name })
      expect((await bytesIn(await client.getObject(key))).toString()).toBe(name)
      const { Contents } = await client.listObjectsV2({ Bucket: key.Bucket, Prefix: key.Key })
      expect(Contents?.map(({ Key }) => Key)).toEqual([key.Key])
    },
  )

  test('a second PutObject replaces the first whole', async () => {
    const { client } = current().s3
    const key = newKey(current())
    await client.putObject({ ...key, Body: BYTES, Metadata: { a: '1' } })
    await client.putObject({ ...key, Body: 'short' })
    const got = await client.getObject(key)
    expect((await bytesIn(got)).toString()).toBe('short')
    expect(got.Metadata).toEqual({})
  })

  test('a range has its bytes and says where they lie', async () => {
    const { client } = current().s3
    const key = newKey(current())
    await client.putObject({ ...key, Body: BYTES })
    const ranges = [
      ['bytes=0-99', 0, 100],
      ['bytes=-100', 99_900, 100_000],
      ['bytes=99990-', 99_990, 100_000],
      ['bytes=99990-200000', 99_990, 100_000],
      ['bytes=-200000', 0, 100_000],
    ] as const
    for (const [Range, start, end] of ranges) {
      const got = await client.getObject({ ...key, Range })
      expect(got.$metadata.httpStatusCode).toBe(206)
      expect(got.ContentRange).toBe(`bytes ${start}-${end - 1}/100000`)
      expect(md5(await bytesIn(got))).toBe(md5(BYTES.subarray(start, end)))
    }
    expect((await refusalOf(client.getObject({ ...key, Range: 'bytes=100000-' }))).status).toBe(416)
  })

  test('what is not there is 404', async () => {
    const { client } = current().s3
    const key = newKey(current())
    expect(await refusalOf(client.getObject(key))).toEqual({ code: 'NoSuchKey', status: 404 })
    expect((await refusalOf(client.headObject(key))).status).toBe(404)
    const nowhere = { Bucket: `${key.Bucket}-nowhere`, Key: key.Key }
    expect(await refusalOf(client.getObject(nowhere))).toEqual({ code: 'NoSuchBucket', status: 404 })
    expect((await refusalOf(client.headBucket({ Bucket: nowhere.Bucket }))).status).toBe(404)
  })

  test('a read under a condition that fails is 304 or 412', async () => {
    const { client } = current().s3
    const key = newKey(current())
    const { ETag = '' } = await client.putObject({ ...key, Body: BYTES })
    expect((await refusalOf(client.getObject({ ...key, IfNoneMatch: ETag }))).status).toBe(304)
    expect((await refusalOf(client.getObject({ ...key, IfMatch: OTHER }))).status).toBe(412)
    const got = await client.getObject({ ...key, IfMatch: ETag })
    expect(md5(await bytesIn(got))).toBe(md5(BYTES))
  })

  test('a write that must not replace anything is 412 where something is', async () => {
    const { client } = current().s3
    const key = newKey(current())
    await client.putObject({ ...key, Body: '1', IfNoneMatch: '*' })
    expect(await refusalOf(client.putObject({ ...key, Body: '2', IfNoneMatch: '*' }))).toEqual(FAILED)
    expect((await bytesIn(await client.getObject(key))).toString()).toBe('1')
  })

  test('a write that must replace what it knows is 412 where something else is', async ({ skip }) => {
    const { differences, s3 } = current()
    skip(!differences.writeIfMatch, `${s3.engine} has no If-Match for writes`)
    const key = newKey(current())
    const { ETag = '' } = await s3.client.putObject({ ...key, Body: '1' })
    expect(await refusalOf(s3.client.putObject({ ...key, Body: '2', IfMatch: OTHER }))).toEqual(FAILED)
    expect((await bytesIn(await s3.client.getObject(key))).toString()).toBe('1')
    await s3.client.putObject({ ...key, Body: '3', IfMatch: ETag })
    expect((await bytesIn(await s3.client.getObject(key))).toString()).toBe('3')
    const nothing = s3.client.putObject({ ...newKey(current()), Body: '4', IfMatch: ETag })
    expect(await refusalOf(nothing)).toEqual({ code: 'NoSuchKey', status: 404 })
  })

  test('a copy has the bytes of its source, and its metadata unless they are replaced', async () => {
    const { client } = current().s3
    const [source, same, other] = [newKey(current(), 'a b+c'), newKey(current()), newKey(current())]
    await client.putObject({ ...source, Body: BYTES, ContentType: 'text/x', Metadata: { a: '1' } })
    const CopySource = encodeURIComponent(`${source.Bucket}/${source.Key}`)
    const { CopyObjectResult } = await client.copyObject({ ...same, CopySource })
    expect(CopyObjectResult?.ETag).toBe(inDocument(current(), md5(BYTES)))
    expect(await client.headObject(same)).toMatchObject({ ContentType: 'text/x', Metadata: { a: '1' } })
    const replaced = { ContentType: 'a/b', Metadata: { z: '2' } }
    await client.copyObject({ ...other, CopySource, MetadataDirective: 'REPLACE', ...replaced })
    const got = await client.getObject(other)
    expect(got).toMatchObject(replaced)
    expect(md5(await bytesIn(got))).toBe(md5(BYTES))
  })

  test('deleting is 204, also when there is nothing', async () => {
    const { client } = current().s3
    const key = newKey(current())
    await client.putObject({ ...key, Body: 'x' })
    for (let i = 0; i < 2; i++) expect((await client.deleteObject(key)).$metadata.httpStatusCode).toBe(204)
    expect((await refusalOf(client.headObject(key))).status).toBe(404)
  })

  test('many keys are deleted at once, and those that are not there are told as deleted', async () => {
    const { client, bucket } = current().s3
    const made = [newKey(current()), newKey(current())]
    for (const key of made) await client.putObject({ ...key, Body: 'x' })
    const keys = [...made, newKey(current())].map(({ Key }) => ({ Key }))
    const deleted = await client.deleteObjects({ Bucket: bucket, Delete: { Objects: keys } })
    expect(new Set(deleted.Deleted?.map(({ Key }) => Key))).toEqual(new Set(keys.map(({ Key }) => Key)))
    expect(deleted.Errors ?? []).toEqual([])
    for (const key of made) expect((await refusalOf(client.headObject(key))).status).toBe(404)
  })

  test('tags are kept, read and replaced', async ({ skip }) => {
    const { differences, s3 } = current()
    skip(!differences.tagging, `${s3.engine} has no tags`)
    const key = newKey(current())
    await s3.client.putObject({ ...key, Body: 'x', Tagging: 'done=false' })
    expect((await s3.client.getObjectTagging(key)).TagSet).toEqual([{ Key: 'done', Value: 'false' }])
    const TagSet = [{ Key: 'q', Value: '<1>' }]
    await s3.client.putObjectTagging({ ...key, Tagging: { TagSet } })
    expect((await s3.client.getObjectTagging(key)).TagSet).toEqual(TagSet)
    await s3.client.deleteObjectTagging(key)
    expect((await s3.client.getObjectTagging(key)).TagSet).toEqual([])
  })

  test('encryption with keys of S3 is taken and told, and the ETag stays the MD5', async () => {
    const { differences, s3 } = current()
    const key = newKey(current())
    const put = s3.client.putObject({ ...key, Body: BYTES, ServerSideEncryption: 'AES256' })
    if (differences.encryption === 'refused') {
      expect(await refusalOf(put)).toEqual({ code: 'NotImplemented', status: 501 })
      return
    }
    expect((await put).ETag).toBe(`"${md5(BYTES)}"`)
    const told = (await s3.client.headObject(key)).ServerSideEncryption
    expect(told).toBe(differences.encryption === 'told' ? 'AES256' : undefined)
  })

  test('encryption with a key of KMS is taken and told, and the bytes come back', async ({ skip }) => {
    const { s3, differences } = current()
    skip(s3.kmsKeyId === null, `${s3.engine} has no KMS key to test with`)
    const key = newKey(current())
    const put = await s3.client.putObject({
      ...key,
      Body: BYTES,
      ServerSideEncryption: 'aws:kms',
      SSEKMSKeyId: s3.kmsKeyId ?? '',
    })
    const got = await s3.client.getObject(key)
    expect(got).toMatchObject({ ServerSideEncryption: 'aws:kms', ETag: put.ETag })
    expect(got.SSEKMSKeyId).toContain(s3.kmsKeyId)
    expect(md5(await bytesIn(got))).toBe(md5(BYTES))
    expect(put.ETag === `"${md5(BYTES)}"`).toBe(differences.kmsEtagIsMd5)
  })

  test('a storage class that is none is refused', async () => {
    const { s3, differences } = current()
    const StorageClass = 'NONE' as 'STANDARD'
    const refusal = await refusalOf(s3.client.putObject({ ...newKey(current()), Body: 'x', StorageClass }))
    expect(refusal).toEqual({ code: differences.badStorageClass, status: 400 })
  })
}

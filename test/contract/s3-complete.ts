import { expect, test } from 'vitest'
import {
  bytesIn,
  complete,
  FIRST,
  LAST,
  md5,
  newUpload,
  PARTS,
  putParts,
  refusalOf,
  SECOND,
} from './s3-fixture.ts'
import type { Current, NamedPart } from './s3-fixture.ts'

/** CompleteMultipartUpload: what it takes, and what it says to the rest. */
export function completesUploads(current: Current): void {
  const NO_UPLOAD = { code: 'NoSuchUpload', status: 404 }

  /** Parts of an upload that Complete must refuse, without harm to the upload. */
  async function refusalOfComplete(
    bodies: readonly Uint8Array[],
    change: (parts: NamedPart[]) => NamedPart[],
  ) {
    const target = await newUpload(current())
    const parts = await putParts(current(), target, bodies)
    const refusal = await refusalOf(complete(current(), target, change(parts)))
    expect((await current().s3.client.listParts(target)).Parts?.length).toBe(bodies.length)
    return refusal
  }

  test('the ETag is that of the ETags of the parts, with their number', async () => {
    const target = await newUpload(current())
    const { s3, differences } = current()
    const { ETag } = await complete(current(), target, await putParts(current(), target, PARTS))
    const digests = Buffer.concat(PARTS.map((part) => Buffer.from(md5(part), 'hex')))
    const etag = `"${md5(digests)}-3"`
    expect((await s3.client.headObject({ Bucket: target.Bucket, Key: target.Key })).ETag).toBe(etag)
    expect(ETag).toBe(differences.completeTellsEtag ? etag : '')
  })

  test('parts that are not named are left out', async () => {
    const target = await newUpload(current())
    const [first, , last] = await putParts(current(), target, PARTS)
    const completed = complete(current(), target, [first, last] as NamedPart[])
    if (current().differences.completeSomeParts === 'InvalidPart') {
      expect(await refusalOf(completed)).toEqual({ code: 'InvalidPart', status: 400 })
      return
    }
    await completed
    const got = await current().s3.client.getObject({ Bucket: target.Bucket, Key: target.Key })
    expect(md5(await bytesIn(got))).toBe(md5(Buffer.concat([FIRST, LAST])))
  })

  test('a single part of no bytes makes an object of no bytes', async () => {
    const target = await newUpload(current())
    await complete(current(), target, await putParts(current(), target, [Buffer.alloc(0)]))
    const head = await current().s3.client.headObject({ Bucket: target.Bucket, Key: target.Key })
    expect(head.ContentLength).toBe(0)
  })

  test('another ETag is InvalidPart', async () => {
    const wrong = `"${md5(Buffer.from('x'))}"`
    const refusal = await refusalOfComplete([FIRST, LAST], ([first, last]) => [
      { PartNumber: 1, ETag: wrong },
      last ?? (first as NamedPart),
    ])
    expect(refusal).toEqual({ code: 'InvalidPart', status: 400 })
  })

  test('a part that was never uploaded is InvalidPart', async () => {
    const refusal = await refusalOfComplete([FIRST, LAST], ([first, last]) => [
      first as NamedPart,
      { PartNumber: 7, ETag: last?.ETag ?? '' },
    ])
    expect(refusal).toEqual({ code: 'InvalidPart', status: 400 })
  })

  test('parts out of order are InvalidPartOrder', async ({ skip }) => {
    const { differences, s3 } = current()
    skip(differences.completeOutOfOrder === 'takes them', `${s3.engine} puts them in order`)
    const refusal = await refusalOfComplete([FIRST, SECOND], (parts) => parts.toReversed())
    expect(refusal).toEqual({ code: 'InvalidPartOrder', status: 400 })
  })

  test('a small part before the last is EntityTooSmall', async () => {
    const refusal = await refusalOfComplete([LAST, FIRST], (parts) => parts)
    expect(refusal).toEqual({ code: 'EntityTooSmall', status: 400 })
  })

  test('no parts are refused', async () => {
    expect((await refusalOfComplete([FIRST], () => [])).status).toBe(400)
  })

  test('an upload that was refused can still be completed', async () => {
    const target = await newUpload(current())
    const parts = await putParts(current(), target, [FIRST, SECOND])
    const other = parts.map((part) => ({ ...part, ETag: `"${md5(Buffer.from('x'))}"` }))
    expect((await refusalOf(complete(current(), target, other))).code).toBe('InvalidPart')
    await complete(current(), target, parts)
  })

  test('a completed upload has no parts any more, and its object stays', async () => {
    const { client } = current().s3
    const target = await newUpload(current())
    await complete(current(), target, await putParts(current(), target, [LAST]))
    expect((await refusalOf(client.listParts(target))).code).toBe(current().differences.listGone)
    expect(await refusalOf(client.uploadPart({ ...target, PartNumber: 1, Body: 'x' }))).toEqual(NO_UPLOAD)
    await client.abortMultipartUpload(target).catch(() => {})
    expect((await client.headObject({ Bucket: target.Bucket, Key: target.Key })).ContentLength).toBe(
      LAST.length,
    )
  })

  test('completing again says the same again, or that there is no such upload', async () => {
    const target = await newUpload(current())
    const parts = await putParts(current(), target, [LAST])
    await complete(current(), target, parts)
    const again = complete(current(), target, parts)
    if (current().differences.completeAgain === 'answers 200') expect((await again).ETag).toContain('-1')
    else expect(await refusalOf(again)).toEqual(NO_UPLOAD)
  })

  test('parts of unequal size are taken, except by R2', async () => {
    const { differences } = current()
    const target = await newUpload(current())
    const bodies = [FIRST, Buffer.concat([SECOND, LAST]), LAST]
    const completed = complete(current(), target, await putParts(current(), target, bodies))
    if (differences.unequalParts === 'taken') expect((await completed).$metadata.httpStatusCode).toBe(200)
    else expect(await refusalOf(completed)).toEqual({ code: 'InvalidPart', status: 400 })
  })

  test('an object that is there already stays, where the completion says so', async ({ skip }) => {
    const { differences, s3 } = current()
    skip(differences.completeIfNoneMatch === 'ignored', `${s3.engine} has no condition for it`)
    const target = await newUpload(current())
    const Parts = await putParts(current(), target, [LAST])
    await s3.client.putObject({ Bucket: target.Bucket, Key: target.Key, Body: 'x' })
    const guarded = { ...target, MultipartUpload: { Parts }, IfNoneMatch: '*' }
    expect((await refusalOf(s3.client.completeMultipartUpload(guarded))).code).toBe('PreconditionFailed')
    expect((await s3.client.headObject({ Bucket: target.Bucket, Key: target.Key })).ContentLength).toBe(1)
  })

  test('tags and encryption are those that the upload was created with', async ({ skip }) => {
    const { differences, s3 } = current()
    skip(!differences.uploadTags, `${s3.engine} has no tags for uploads`)
    const target = await newUpload(current(), { Tagging: 'a=b', ServerSideEncryption: 'AES256' })
    await complete(current(), target, await putParts(current(), target, [LAST]))
    const key = { Bucket: target.Bucket, Key: target.Key }
    expect((await s3.client.getObjectTagging(key)).TagSet).toEqual([{ Key: 'a', Value: 'b' }])
    expect((await s3.client.headObject(key)).ServerSideEncryption).toBe('AES256')
  })

  test('under a KMS key the ETags are taken as they were given', async ({ skip }) => {
    const { differences, s3 } = current()
    skip(s3.kmsKeyId === null, `${s3.engine} has no KMS key to test with`)
    const target = await newUpload(current(), {
      ServerSideEncryption: 'aws:kms',
      SSEKMSKeyId: s3.kmsKeyId ?? '',
    })
    const parts = await putParts(current(), target, PARTS)
    expect(parts[0]?.ETag === `"${md5(FIRST)}"`).toBe(differences.kmsEtagIsMd5)
    await complete(current(), target, parts)
    const got = await s3.client.getObject({ Bucket: target.Bucket, Key: target.Key })
    expect(got.ServerSideEncryption).toBe('aws:kms')
    expect(md5(await bytesIn(got))).toBe(md5(Buffer.concat(PARTS)))
  })
}

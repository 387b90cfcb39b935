import { expect, test } from 'vitest'
import { bytesOf, MIB } from '../support/bytes.ts'
import {
  bytesIn,
  complete,
  FIRST,
  inDocument,
  LAST,
  md5,
  newKey,
  newUpload,
  PARTS,
  putParts,
  refusalOf,
  SECOND,
} from './s3-fixture.ts'
import type { Current } from './s3-fixture.ts'

/** Parts: uploaded, copied, listed, aborted. */
export function takesParts(current: Current): void {
  const NO_UPLOAD = { code: 'NoSuchUpload', status: 404 }

  test('parts that come side by side and out of order make the object', async () => {
    const { client } = current().s3
    const target = await newUpload(current(), { ContentType: 'video/mp4', Metadata: { k: 'v' } })
    const last = await client.uploadPart({ ...target, PartNumber: 3, Body: LAST })
    const parts = await putParts(current(), target, [FIRST, SECOND])
    expect(parts.map(({ ETag }) => ETag)).toEqual([`"${md5(FIRST)}"`, `"${md5(SECOND)}"`])
    await complete(current(), target, [...parts, { PartNumber: 3, ETag: last.ETag ?? '' }])
    const got = await client.getObject({ Bucket: target.Bucket, Key: target.Key })
    expect(got).toMatchObject({ ContentType: 'video/mp4', Metadata: { k: 'v' } })
    expect(md5(await bytesIn(got))).toBe(md5(Buffer.concat(PARTS)))
  })

  test('there is no object before the upload completes', async () => {
    const { client } = current().s3
    const target = await newUpload(current())
    await putParts(current(), target, [LAST])
    expect((await refusalOf(client.headObject({ Bucket: target.Bucket, Key: target.Key }))).status).toBe(404)
  })

  test('a part that is uploaded again replaces the first', async () => {
    const { client } = current().s3
    const target = await newUpload(current())
    await putParts(current(), target, [FIRST, LAST])
    const { ETag = '' } = await client.uploadPart({ ...target, PartNumber: 1, Body: SECOND })
    const { Parts = [] } = await client.listParts(target)
    expect(Parts.map((part) => part.ETag)).toEqual([ETag, `"${md5(LAST)}"`])
  })

  test('parts are listed in order, page by page', async () => {
    const { client } = current().s3
    const target = await newUpload(current())
    for (const PartNumber of [5, 1, 3, 2, 4])
      await client.uploadPart({ ...target, PartNumber, Body: Buffer.alloc(PartNumber) })
    const pages: (number | undefined)[][] = []
    let PartNumberMarker: string | undefined
    do {
      const page = await client.listParts({
        ...target,
        MaxParts: 2,
        ...(PartNumberMarker ? { PartNumberMarker } : {}),
      })
      pages.push((page.Parts ?? []).map(({ Size }) => Size))
      for (const { ETag, LastModified } of page.Parts ?? []) {
        expect(ETag).toMatch(/^"[0-9a-f]{32}"$/)
        expect(LastModified).toBeInstanceOf(Date)
      }
      PartNumberMarker = page.IsTruncated ? page.NextPartNumberMarker : undefined
    } while (PartNumberMarker !== undefined && pages.length < 9)
    expect(pages).toEqual([[1, 2], [3, 4], [5]])
  })

  test('a page holds 1,000 parts at most', async () => {
    const { client } = current().s3
    const target = await newUpload(current())
    const numbers = Array.from({ length: 1005 }, (_, i) => i + 1)
    for (let at = 0; at < numbers.length; at += 30)
      await Promise.all(
        numbers
          .slice(at, at + 30)
          .map((PartNumber) => client.uploadPart({ ...target, PartNumber, Body: 'x' })),
      )
    const first = await client.listParts(target)
    expect([first.Parts?.length, first.IsTruncated]).toEqual([1000, true])
    const PartNumberMarker = first.NextPartNumberMarker ?? ''
    expect((await client.listParts({ ...target, PartNumberMarker })).Parts?.length).toBe(5)
  })

  test('an aborted upload takes nothing any more', async () => {
    const { s3, differences } = current()
    const target = await newUpload(current())
    const parts = await putParts(current(), target, [LAST])
    await s3.client.abortMultipartUpload(target)
    expect(await refusalOf(s3.client.uploadPart({ ...target, PartNumber: 2, Body: 'x' }))).toEqual(NO_UPLOAD)
    expect(await refusalOf(s3.client.abortMultipartUpload(target))).toEqual(NO_UPLOAD)
    expect((await refusalOf(s3.client.listParts(target))).code).toBe(differences.listGone)
    expect((await refusalOf(complete(current(), target, parts))).code).toBe(differences.completeGone)
  })

  test('an upload is found under its own key alone', async () => {
    const { s3, differences } = current()
    const { UploadId } = await newUpload(current())
    const elsewhere = { ...newKey(current()), UploadId }
    expect((await refusalOf(s3.client.listParts(elsewhere))).code).toBe(differences.listGone)
    const part = s3.client.uploadPart({ ...elsewhere, PartNumber: 1, Body: 'x' })
    expect(await refusalOf(part)).toEqual(NO_UPLOAD)
  })

  test.for([0, 10_001])('part number %i is refused', async (PartNumber, { skip }) => {
    const { s3, differences } = current()
    skip(differences.partNumbers === 'any', `${s3.engine} takes any part number`)
    const target = await newUpload(current())
    const refusal = await refusalOf(s3.client.uploadPart({ ...target, PartNumber, Body: 'x' }))
    expect(refusal).toEqual({ code: 'InvalidArgument', status: 400 })
  })

  test('part number 10,000 is taken', async () => {
    const target = await newUpload(current())
    const { ETag = '' } = await current().s3.client.uploadPart({ ...target, PartNumber: 10_000, Body: 'x' })
    await complete(current(), target, [{ PartNumber: 10_000, ETag }])
  })

  test('a part may be copied from an object, whole or a range of it', async () => {
    const { client } = current().s3
    const source = newKey(current(), 'a b')
    const bytes = bytesOf(6 * MIB, 3)
    await client.putObject({ ...source, Body: bytes })
    const CopySource = encodeURIComponent(`${source.Bucket}/${source.Key}`)
    const target = await newUpload(current())
    const copies = [{ CopySourceRange: `bytes=0-${5 * MIB - 1}` }, { CopySourceRange: 'bytes=17-99' }]
    const parts = []
    for (const [i, range] of copies.entries()) {
      const copied = await client.uploadPartCopy({ ...target, PartNumber: i + 1, CopySource, ...range })
      parts.push({ PartNumber: i + 1, ETag: copied.CopyPartResult?.ETag ?? '' })
    }
    expect(parts[0]?.ETag).toBe(inDocument(current(), md5(bytes.subarray(0, 5 * MIB))))
    await complete(current(), target, parts)
    const got = await bytesIn(await client.getObject({ Bucket: target.Bucket, Key: target.Key }))
    expect(md5(got)).toBe(md5(Buffer.concat([bytes.subarray(0, 5 * MIB), bytes.subarray(17, 100)])))
  })

  test('a range is copied out of a source of more than 5 MiB alone', async ({ skip }) => {
    const { s3, differences } = current()
    skip(differences.smallRangeSource === 'taken', `${s3.engine} copies ranges out of smaller ones`)
    const source = newKey(current())
    await s3.client.putObject({ ...source, Body: FIRST })
    const CopySource = `${source.Bucket}/${source.Key}`
    const target = await newUpload(current())
    const copy = { ...target, PartNumber: 1, CopySource }
    const refusal = await refusalOf(s3.client.uploadPartCopy({ ...copy, CopySourceRange: 'bytes=0-99' }))
    expect(refusal).toEqual({ code: 'InvalidRequest', status: 400 })
    await s3.client.uploadPartCopy(copy)
  })

  test('a range that runs out of its source is refused', async () => {
    const { client } = current().s3
    const source = newKey(current())
    await client.putObject({ ...source, Body: bytesOf(6 * MIB) })
    const target = await newUpload(current())
    const refusal = await refusalOf(
      client.uploadPartCopy({
        ...target,
        PartNumber: 1,
        CopySource: `${source.Bucket}/${source.Key}`,
        CopySourceRange: `bytes=0-${6 * MIB}`,
      }),
    )
    expect([400, 416]).toContain(refusal.status)
  })
}

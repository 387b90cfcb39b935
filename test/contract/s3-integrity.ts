import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { bytesOf } from '../support/bytes.ts'
import {
  bytesIn,
  checksumming,
  clientOf,
  complete,
  md5,
  newKey,
  newUpload,
  PARTS,
  refusalOf,
  sha256Base64,
  streamOf,
  tampering,
  type Current,
} from './s3-fixture.ts'

const BYTES = bytesOf(300_001)
const OTHER = Buffer.from('other')

/** That a body which isn't what it says it is never becomes an object. */
export function checksBodies(current: Current): void {
  /** Afterwards nothing is there. */
  async function refusedPut(put: (key: ReturnType<typeof newKey>) => Promise<unknown>) {
    const key = newKey(current())
    const refusal = await refusalOf(put(key))
    expect((await refusalOf(current().s3.client.headObject(key))).status).toBe(404)
    return refusal
  }

  test('a wrong Content-MD5 is BadDigest', async () => {
    const { client } = current().s3
    const wrong = { Body: BYTES, ContentMD5: md5(OTHER, 'base64') }
    expect(await refusedPut((key) => client.putObject({ ...key, ...wrong }))).toEqual({
      code: 'BadDigest',
      status: 400,
    })
    const part = { ...(await newUpload(current())), PartNumber: 1 }
    expect(await refusalOf(client.uploadPart({ ...part, ...wrong }))).toMatchObject({ code: 'BadDigest' })
    await client.uploadPart({ ...part, Body: BYTES, ContentMD5: md5(BYTES, 'base64') })
  })

  test('a Content-MD5 that is none is InvalidDigest', async () => {
    const { client } = current().s3
    const refusal = await refusedPut((key) => client.putObject({ ...key, Body: BYTES, ContentMD5: 'eA==' }))
    expect(refusal).toEqual({ code: 'InvalidDigest', status: 400 })
  })

  test('a body other than the signed one is XAmzContentSHA256Mismatch', async () => {
    const client = tampering(clientOf(current()), (request) => {
      request.body = Buffer.from(BYTES).fill(0, 100, 101)
    })
    const refusal = await refusedPut((key) => client.putObject({ ...key, Body: BYTES }))
    expect(refusal).toEqual({ code: 'XAmzContentSHA256Mismatch', status: 400 })
  })

  test('a stream without a checksum is taken as it comes', async () => {
    const { client } = current().s3
    const key = newKey(current())
    await client.putObject({ ...key, Body: streamOf(BYTES), ContentLength: BYTES.length })
    expect(md5(await bytesIn(await client.getObject(key)))).toBe(md5(BYTES))
  })

  test('a stream with a checksum behind it is stored without the framing, or not at all', async () => {
    const { differences, s3 } = current()
    const put = (key: ReturnType<typeof newKey>) =>
      checksumming(current()).putObject({ ...key, Body: streamOf(BYTES), ContentLength: BYTES.length })
    if (differences.trailers === 'refused') {
      expect([411, 501]).toContain((await refusedPut(put)).status)
      return
    }
    const key = newKey(current())
    await put(key)
    const got = await s3.client.getObject(key)
    expect(md5(await bytesIn(got))).toBe(md5(BYTES))
    expect(got).toMatchObject({ ETag: `"${md5(BYTES)}"` })
    expect(got.ContentEncoding ?? '').toBe('')
  })

  test('a stream whose checksum behind it is wrong is BadDigest', async ({ skip }) => {
    const { differences, s3 } = current()
    skip(differences.trailers === 'refused', `${s3.engine} refuses such streams`)
    const client = tampering(checksumming(current()), (request) => {
      request.body = streamOf(
        Buffer.from(`5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n`, 'latin1'),
      )
    })
    const refusal = await refusedPut((key) =>
      client.putObject({ ...key, Body: streamOf(Buffer.from('hello')), ContentLength: 5 }),
    )
    expect(refusal).toEqual({ code: 'BadDigest', status: 400 })
  })

  // The CRCs of these are in every table of CRCs.
  const DIGITS = '123456789'
  const ALGORITHMS = [
    ['ChecksumCRC32', 'CRC32', 'y/Q5Jg=='],
    ['ChecksumCRC32C', 'CRC32C', '4waSgw=='],
    ['ChecksumSHA1', 'SHA1', createHash('sha1').update(DIGITS).digest('base64')],
    ['ChecksumSHA256', 'SHA256', createHash('sha256').update(DIGITS).digest('base64')],
  ] as const

  test.for(ALGORITHMS)('%s is checked, kept and told', async ([field, , checksum], { skip }) => {
    const { differences, s3 } = current()
    skip(!differences.checksums, `${s3.engine} ignores checksums`)
    const key = newKey(current())
    await s3.client.putObject({ ...key, Body: DIGITS, [field]: checksum })
    const head = await s3.client.headObject({ ...key, ChecksumMode: 'ENABLED' })
    expect(head[field]).toBe(checksum)
    const refusal = await refusedPut((other) =>
      s3.client.putObject({ ...other, Body: 'other', [field]: checksum }),
    )
    expect(refusal).toEqual({ code: 'BadDigest', status: 400 })
  })

  test('the CRC32 that the SDK adds by itself is good', async ({ skip }) => {
    const { differences, s3 } = current()
    skip(!differences.checksums, `${s3.engine} ignores checksums`)
    const client = checksumming(current())
    const key = newKey(current())
    expect((await client.putObject({ ...key, Body: BYTES })).ChecksumCRC32).toMatch(/^.{6}==$/)
    expect(md5(await bytesIn(await client.getObject(key)))).toBe(md5(BYTES))
  })

  test('an upload created with a checksum algorithm wants it of every part, and when it completes', async ({
    skip,
  }) => {
    const { differences, s3 } = current()
    skip(!differences.checksums, `${s3.engine} ignores checksums`)
    const target = await newUpload(current(), { ChecksumAlgorithm: 'SHA256' })
    const without = s3.client.uploadPart({ ...target, PartNumber: 1, Body: PARTS[0] })
    expect(await refusalOf(without)).toEqual({ code: 'InvalidRequest', status: 400 })
    const parts = []
    for (const [i, Body] of PARTS.entries()) {
      const part = { PartNumber: i + 1, ChecksumSHA256: sha256Base64(Body) }
      const { ETag = '' } = await s3.client.uploadPart({ ...target, ...part, Body })
      parts.push({ ...part, ETag })
    }
    const { Parts = [] } = await s3.client.listParts(target)
    expect(Parts.map(({ ChecksumSHA256 }) => ChecksumSHA256)).toEqual(PARTS.map(sha256Base64))
    const bare = parts.map(({ PartNumber, ETag }) => ({ PartNumber, ETag }))
    expect(await refusalOf(complete(current(), target, bare))).toMatchObject({ status: 400 })
    const { ChecksumSHA256 } = await complete(current(), target, parts)
    const digests = Buffer.concat(PARTS.map((part) => Buffer.from(sha256Base64(part), 'base64')))
    expect(ChecksumSHA256).toBe(`${sha256Base64(digests)}-3`)
  })
}

/** R2 is S3 with less; these are its own rules, of the emulator or of R2 itself (RUN_R2_INTEGRATION). */
import { expect, test } from 'vitest'
import { bytesOf, MIB } from '../support/bytes.ts'
import { useS3 } from '../support/s3/endpoint.ts'
import { DIFFERENCES } from './s3-differences.ts'
import { engineContract } from './s3-engine.ts'
import { clientOf, complete, FIRST, LAST, newKey, newUpload, putParts, refusalOf } from './s3-fixture.ts'

engineContract({ r2: true })

async function useR2() {
  const s3 = await useS3({ r2: true })
  return { s3, differences: DIFFERENCES[s3.engine] }
}

const NOT_IMPLEMENTED = { code: 'NotImplemented', status: 501 }

test('R2 has no tags: not in a header, and not by themselves', async () => {
  const fixture = await useR2()
  const { client } = fixture.s3
  const key = newKey(fixture)
  expect(await refusalOf(client.putObject({ ...key, Body: 'x', Tagging: 'a=b' }))).toEqual(NOT_IMPLEMENTED)
  expect((await refusalOf(client.headObject(key))).status).toBe(404)
  expect(await refusalOf(client.createMultipartUpload({ ...key, Tagging: 'a=b' }))).toEqual(NOT_IMPLEMENTED)
  await client.putObject({ ...key, Body: 'x' })
  const Tagging = { TagSet: [{ Key: 'a', Value: 'b' }] }
  expect(await refusalOf(client.putObjectTagging({ ...key, Tagging }))).toEqual(NOT_IMPLEMENTED)
  expect(await refusalOf(client.getObjectTagging(key))).toEqual(NOT_IMPLEMENTED)
})

test('R2 takes no KMS key', async () => {
  const fixture = await useR2()
  const encrypted = { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'key' } as const
  const put = fixture.s3.client.putObject({ ...newKey(fixture), Body: 'x', ...encrypted })
  expect(await refusalOf(put)).toEqual(NOT_IMPLEMENTED)
  const created = fixture.s3.client.createMultipartUpload({ ...newKey(fixture), ...encrypted })
  expect(await refusalOf(created)).toEqual(NOT_IMPLEMENTED)
})

test('R2 has two storage classes', async () => {
  const fixture = await useR2()
  const { client } = fixture.s3
  for (const StorageClass of ['STANDARD', 'STANDARD_IA'] as const)
    await client.putObject({ ...newKey(fixture), Body: 'x', StorageClass })
  const other = client.putObject({ ...newKey(fixture), Body: 'x', StorageClass: 'ONEZONE_IA' })
  expect((await refusalOf(other)).status).toBe(400)
})

test('R2 takes a last part that is smaller than the others, or of the same size, and no larger one', async () => {
  const fixture = await useR2()
  for (const last of [LAST, FIRST]) {
    const target = await newUpload(fixture)
    await complete(fixture, target, await putParts(fixture, target, [FIRST, FIRST, last]))
  }
  const target = await newUpload(fixture)
  const parts = await putParts(fixture, target, [FIRST, bytesOf(6 * MIB)])
  expect(await refusalOf(complete(fixture, target, parts))).toEqual({ code: 'InvalidPart', status: 400 })
})

test('R2 lies in the region auto, and us-east-1 is another name for it', async () => {
  const fixture = await useR2()
  const key = newKey(fixture)
  expect(fixture.s3.region).toBe('auto')
  await clientOf(fixture, { region: 'us-east-1' }).putObject({ ...key, Body: 'x' })
  expect((await fixture.s3.client.headObject(key)).ContentLength).toBe(1)
  const elsewhere = clientOf(fixture, { region: 'eu-north-1' }).headObject(key)
  expect((await refusalOf(elsewhere)).status).toBeGreaterThanOrEqual(400)
})

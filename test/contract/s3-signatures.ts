import { GetObjectCommand, PutObjectCommand, UploadPartCommand } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { expect, test } from 'vitest'
import { bytesOf } from '../support/bytes.ts'
import {
  bytesIn,
  clientOf,
  complete,
  LAST,
  md5,
  newKey,
  newUpload,
  refusalOf,
  tampering,
} from './s3-fixture.ts'
import type { Current } from './s3-fixture.ts'

const BYTES = bytesOf(1000)

/** Signature Version 4, in headers and in presigned URLs. */
export function checksSignatures(current: Current): void {
  async function putObject() {
    const key = newKey(current(), 'a b+c')
    await current().s3.client.putObject({ ...key, Body: BYTES })
    return key
  }

  const errorOf = async (response: Response) => ({
    code: /<Code>(.*?)<\/Code>/.exec(await response.text())?.[1],
    status: response.status,
  })

  test('a wrong secret is SignatureDoesNotMatch', async () => {
    const { accessKeyId } = await current().s3.client.config.credentials()
    const client = clientOf(current(), { credentials: { accessKeyId, secretAccessKey: 'wrong' } })
    const wrong = { code: 'SignatureDoesNotMatch', status: 403 }
    expect(await refusalOf(client.getObject(await putObject()))).toEqual(wrong)
    const key = newKey(current())
    expect(await refusalOf(client.putObject({ ...key, Body: 'x' }))).toEqual(wrong)
    expect((await refusalOf(current().s3.client.headObject(key))).status).toBe(404)
  })

  test('an unknown key is InvalidAccessKeyId', async () => {
    const client = clientOf(current(), {
      credentials: { accessKeyId: 'NOBODYNOBODYNOBODYNO', secretAccessKey: 'x' },
    })
    const refusal = await refusalOf(client.getObject(await putObject()))
    expect(refusal).toEqual({ code: 'InvalidAccessKeyId', status: 403 })
  })

  test('no signature is AccessDenied', async () => {
    const key = await putObject()
    const url = await getSignedUrl(current().s3.client, new GetObjectCommand(key))
    const response = await fetch(url.slice(0, url.indexOf('?')))
    expect(await errorOf(response)).toEqual({ code: 'AccessDenied', status: 403 })
  })

  test('a header that was changed after signing is SignatureDoesNotMatch', async () => {
    const client = tampering(clientOf(current()), ({ headers }) => {
      headers['x-amz-meta-a'] = '2'
    })
    const put = client.putObject({ ...newKey(current()), Body: 'x', Metadata: { a: '1' } })
    expect(await refusalOf(put)).toEqual({ code: 'SignatureDoesNotMatch', status: 403 })
  })

  test('a header of S3 that was not signed is AccessDenied', async ({ skip }) => {
    const { differences, s3 } = current()
    skip(differences.unsignedHeaders === 'taken', `${s3.engine} takes them`)
    const client = tampering(clientOf(current()), ({ headers }) => {
      headers['x-amz-meta-a'] = '1'
    })
    const refusal = await refusalOf(client.putObject({ ...newKey(current()), Body: 'x' }))
    expect(refusal).toEqual({ code: 'AccessDenied', status: 403 })
  })

  test('a request of another time is RequestTimeTooSkewed', async () => {
    const client = clientOf(current(), { systemClockOffset: -20 * 60 * 1000 })
    const refusal = await refusalOf(client.getObject(await putObject()))
    expect(refusal).toEqual({ code: 'RequestTimeTooSkewed', status: 403 })
  })

  test('a presigned GET gives ranges, and the headers that it was signed with', async () => {
    const command = new GetObjectCommand({
      ...(await putObject()),
      ResponseContentDisposition: 'attachment; filename="x y.bin"',
      ResponseContentType: 'text/plain',
    })
    const url = await getSignedUrl(current().s3.client, command, { expiresIn: 60 })
    const response = await fetch(url, { headers: { range: 'bytes=10-19' } })
    expect(response.status).toBe(206)
    expect(Buffer.from(await response.arrayBuffer())).toEqual(BYTES.subarray(10, 20))
    expect(response.headers.get('content-disposition')).toBe('attachment; filename="x y.bin"')
    expect(response.headers.get('content-type')).toBe('text/plain')
  })

  test('a presigned URL that was changed is SignatureDoesNotMatch', async () => {
    const url = await getSignedUrl(current().s3.client, new GetObjectCommand(await putObject()))
    const signature = /X-Amz-Signature=(.)/.exec(url)?.[1]
    const changed = [
      url.replace('?', 'x?'),
      url.replace('X-Amz-Expires=900', 'X-Amz-Expires=901'),
      url.replace(/X-Amz-Signature=./, `X-Amz-Signature=${signature === '0' ? '1' : '0'}`),
      `${url}&response-content-type=text/html`,
    ]
    for (const other of changed)
      expect(await errorOf(await fetch(other))).toEqual({ code: 'SignatureDoesNotMatch', status: 403 })
    const put = await fetch(url, { method: 'PUT', body: 'x' })
    expect(await errorOf(put)).toEqual({ code: 'SignatureDoesNotMatch', status: 403 })
  })

  test('a presigned URL that has expired is refused', async () => {
    const command = new GetObjectCommand(await putObject())
    const signingDate = new Date(Date.now() - 120_000)
    const url = await getSignedUrl(current().s3.client, command, { expiresIn: 60, signingDate })
    expect((await fetch(url)).status).toBe(403)
    const valid = await getSignedUrl(current().s3.client, command, { expiresIn: 180, signingDate })
    expect((await fetch(valid)).status).toBe(200)
  })

  test('a presigned PUT makes an object, and a presigned part a part', async () => {
    const { client } = current().s3
    const key = newKey(current())
    const put = await getSignedUrl(client, new PutObjectCommand(key))
    expect((await fetch(put, { method: 'PUT', body: BYTES })).status).toBe(200)
    expect(md5(await bytesIn(await client.getObject(key)))).toBe(md5(BYTES))

    const target = await newUpload(current())
    const part = await getSignedUrl(client, new UploadPartCommand({ ...target, PartNumber: 1 }))
    const response = await fetch(part, { method: 'PUT', body: LAST })
    expect(response.status).toBe(200)
    await complete(current(), target, [{ PartNumber: 1, ETag: response.headers.get('etag') ?? '' }])
  })
}

import type { ListMultipartUploadsCommandOutput } from '@aws-sdk/client-s3'
import { expect, test } from 'vitest'
import { newKey, refusalOf, type Current } from './s3-fixture.ts'

/** ListObjectsV2 and ListMultipartUploads, page by page. */
export function listsKeys(current: Current): void {
  async function folderOf(names: readonly string[]): Promise<string> {
    const { Key, Bucket } = newKey(current(), '')
    for (const name of names) await current().s3.client.putObject({ Bucket, Key: Key + name, Body: name })
    return Key
  }

  test('keys come in the order of their bytes, with what else is known of them', async () => {
    const { client, bucket } = current().s3
    const Prefix = await folderOf(['b', 'a', 'é', 'B', '😀', '｡'])
    const { Contents = [], IsTruncated, KeyCount } = await client.listObjectsV2({ Bucket: bucket, Prefix })
    expect(Contents.map(({ Key }) => Key?.slice(Prefix.length))).toEqual(['B', 'a', 'b', 'é', '｡', '😀'])
    expect(Contents.map(({ Size }) => Size)).toEqual([1, 1, 1, 2, 3, 4])
    for (const { ETag, LastModified } of Contents) {
      expect(ETag).toMatch(/^"[0-9a-f]{32}"$/)
      expect(LastModified).toBeInstanceOf(Date)
    }
    expect([IsTruncated, KeyCount]).toEqual([false, 6])
  })

  test('keys behind a delimiter are rolled up', async () => {
    const { client, bucket } = current().s3
    const Prefix = await folderOf(['1', '2', 's/1', 's/2', 't/1'])
    const listed = await client.listObjectsV2({ Bucket: bucket, Prefix, Delimiter: '/' })
    expect(listed.Contents?.map(({ Key }) => Key)).toEqual([`${Prefix}1`, `${Prefix}2`])
    expect(listed.CommonPrefixes?.map((common) => common.Prefix)).toEqual([`${Prefix}s/`, `${Prefix}t/`])
  })

  test('pages of keys end where they are told to, and go on with their token', async () => {
    const { client, bucket } = current().s3
    const names = ['1', '2', '3', 's/1', 's/2']
    const Prefix = await folderOf(names)
    const pages: string[][] = []
    let ContinuationToken: string | undefined
    do {
      const page = await client.listObjectsV2({
        Bucket: bucket,
        Prefix,
        MaxKeys: 2,
        ...(ContinuationToken ? { ContinuationToken } : {}),
      })
      pages.push((page.Contents ?? []).map(({ Key = '' }) => Key.slice(Prefix.length)))
      ContinuationToken = page.NextContinuationToken
    } while (ContinuationToken !== undefined)
    expect(pages).toEqual([['1', '2'], ['3', 's/1'], ['s/2']])
  })

  test('a listing may start after a key', async () => {
    const { client, bucket } = current().s3
    const Prefix = await folderOf(['1', '2', '3'])
    const listed = await client.listObjectsV2({ Bucket: bucket, Prefix, StartAfter: `${Prefix}1` })
    expect(listed.Contents?.map(({ Key }) => Key)).toEqual([`${Prefix}2`, `${Prefix}3`])
  })

  test('multipart uploads are listed by prefix, page by page', async () => {
    const { client, bucket } = current().s3
    const { Key: Prefix } = newKey(current(), '')
    const ids: string[] = []
    for (const name of ['a', 'b', 'c']) {
      const { UploadId = '' } = await client.createMultipartUpload({ Bucket: bucket, Key: Prefix + name })
      ids.push(UploadId)
    }
    const seen: { key: string; id: string }[] = []
    let pages = 0
    let markers: { KeyMarker?: string; UploadIdMarker?: string } | null = {}
    while (markers !== null && pages < 5) {
      const page: ListMultipartUploadsCommandOutput = await client.listMultipartUploads({
        Bucket: bucket,
        Prefix,
        MaxUploads: 2,
        ...markers,
      })
      for (const { Key = '', UploadId = '', Initiated } of page.Uploads ?? []) {
        seen.push({ key: Key, id: UploadId })
        expect(Initiated).toBeInstanceOf(Date)
      }
      const { NextKeyMarker: KeyMarker = '', NextUploadIdMarker: UploadIdMarker = '' } = page
      markers = page.IsTruncated ? { KeyMarker, UploadIdMarker } : null
      pages += 1
    }
    expect(pages).toBe(2)
    expect(seen).toEqual(['a', 'b', 'c'].map((name, i) => ({ key: Prefix + name, id: ids[i] })))
  })

  test('several uploads of one key are listed each', async () => {
    const { client } = current().s3
    const key = newKey(current())
    const ids: string[] = []
    for (let i = 0; i < 3; i++) ids.push((await client.createMultipartUpload(key)).UploadId ?? '')
    const { Uploads = [] } = await client.listMultipartUploads({ Bucket: key.Bucket, Prefix: key.Key })
    expect(new Set(Uploads.map(({ UploadId }) => UploadId))).toEqual(new Set(ids))
  })

  test('a bucket that is not there can not be listed', async () => {
    const refusal = refusalOf(current().s3.client.listObjectsV2({ Bucket: `${current().s3.bucket}-nowhere` }))
    expect(await refusal).toEqual({ code: 'NoSuchBucket', status: 404 })
  })
}

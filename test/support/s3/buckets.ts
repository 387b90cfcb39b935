import { receiveText } from './body.ts'
import {
  bucketOf,
  byBytes,
  change,
  isoTime,
  numberIn,
  quoted,
  xmlAnswer,
  type Answer,
  type Call,
  type Handler,
} from './call.ts'
import { S3Error } from './error.ts'
import { encodePath } from './signature.ts'
import { document, elements, textOf } from './xml.ts'

const MAX_KEYS = 1000

export const listBuckets: Handler = ({ state }) =>
  xmlAnswer(
    document('ListAllMyBucketsResult', {
      Owner: { ID: 'owner' },
      Buckets: {
        Bucket: Array.from(state.buckets.values(), ({ name, createdMs }) => ({
          Name: name,
          CreationDate: isoTime(createdMs),
        })),
      },
    }),
  )

export async function createBucket(call: Call): Promise<Answer> {
  const { bucket, rules, state } = call
  const location = call.headers['content-length'] === '0' ? '' : await receiveText(call)
  const wanted = textOf(location, 'LocationConstraint') ?? rules.region
  if (wanted !== rules.region) throw new S3Error('IllegalLocationConstraintException')
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) throw new S3Error('InvalidBucketName')
  if (state.buckets.has(bucket)) {
    // Creating one's own bucket again is fine in Amazon's oldest region, and there alone.
    if (rules.region !== 'us-east-1') throw new S3Error('BucketAlreadyOwnedByYou')
  } else change(call, { type: 'bucket created', bucket, atMs: Date.now() })
  return { status: 200, headers: { location: `/${bucket}` } }
}

export function headBucket(call: Call): Answer {
  bucketOf(call)
  return { status: 200, headers: { 'x-amz-bucket-region': call.rules.region } }
}

export function deleteBucket(call: Call): Answer {
  if (bucketOf(call).objects.size > 0) throw new S3Error('BucketNotEmpty')
  change(call, { type: 'bucket deleted', bucket: call.bucket })
  return { status: 204 }
}

/** Up to 1000 keys at once, existing or not. */
export async function deleteObjects(call: Call): Promise<Answer> {
  const { objects } = bucketOf(call)
  const checksums = Object.keys(call.headers).some((name) => name.startsWith('x-amz-checksum-'))
  if (!checksums && !('content-md5' in call.headers))
    throw new S3Error('InvalidRequest', 'Missing required header: Content-MD5 or x-amz-checksum-*')
  const xml = await receiveText(call)
  const keys = elements(xml, 'Object').map((object) => textOf(object, 'Key') ?? '')
  if (keys.length === 0 || keys.length > MAX_KEYS || keys.includes('')) throw new S3Error('MalformedXML')
  for (const key of keys)
    if (objects.has(key)) change(call, { type: 'object deleted', bucket: call.bucket, key })
  const quiet = textOf(xml, 'Quiet') === 'true'
  return xmlAnswer(document('DeleteResult', quiet ? {} : { Deleted: keys.map((Key) => ({ Key })) }))
}

/** Keys in their order; those that have the delimiter behind the prefix are rolled up into common prefixes. */
export function listObjects(call: Call): Answer {
  const { query } = call
  const { name, objects } = bucketOf(call)
  if (query.get('list-type') !== '2') throw new S3Error('InvalidArgument', 'list-type is 2')
  const prefix = query.get('prefix') ?? ''
  const delimiter = query.get('delimiter') ?? ''
  const max = numberIn(query, 'max-keys', MAX_KEYS, MAX_KEYS)
  const token = query.get('continuation-token')
  const after = token === null ? (query.get('start-after') ?? '') : fromToken(token)

  const entries: string[] = []
  for (const key of [...objects.keys()].filter((key) => key.startsWith(prefix)).toSorted(byBytes)) {
    const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length)
    const entry = end < 0 ? key : key.slice(0, end + delimiter.length)
    if (byBytes(entry, after) > 0 && entry !== entries.at(-1)) entries.push(entry)
  }
  const page = entries.slice(0, max)
  const truncated = entries.length > max && max > 0
  const isPrefix = (entry: string) =>
    delimiter !== '' && entry.endsWith(delimiter) && entry.length > prefix.length
  const encode = query.get('encoding-type') === 'url' ? encodePath : (text: string) => text

  return xmlAnswer(
    document('ListBucketResult', {
      Name: name,
      Prefix: encode(prefix),
      Delimiter: delimiter === '' ? undefined : encode(delimiter),
      MaxKeys: max,
      EncodingType: query.get('encoding-type') ?? undefined,
      KeyCount: page.length,
      IsTruncated: truncated,
      ContinuationToken: token ?? undefined,
      NextContinuationToken: truncated ? toToken(page.at(-1) ?? '') : undefined,
      StartAfter: query.get('start-after') ?? undefined,
      Contents: page
        .filter((entry) => !isPrefix(entry))
        .map((key) => objects.get(key))
        .filter((object) => object !== undefined)
        .map(({ key, modifiedMs, etag, size, attributes }) => ({
          Key: encode(key),
          LastModified: isoTime(modifiedMs),
          ETag: quoted(etag),
          Size: size,
          StorageClass: attributes.storageClass,
        })),
      CommonPrefixes: page.filter(isPrefix).map((entry) => ({ Prefix: encode(entry) })),
    }),
  )
}

const toToken = (key: string) => Buffer.from(key).toString('base64url')
const fromToken = (token: string) => Buffer.from(token, 'base64url').toString()

export function listMultipartUploads(call: Call): Answer {
  const { query } = call
  const { name, uploads } = bucketOf(call)
  const prefix = query.get('prefix') ?? ''
  const keyMarker = query.get('key-marker') ?? ''
  const idMarker = keyMarker === '' ? '' : (query.get('upload-id-marker') ?? '')
  const max = numberIn(query, 'max-uploads', MAX_KEYS, MAX_KEYS)
  // The ids of this server grow, so that the order of ids is the order of creation.
  const rest = [...uploads.values()]
    .filter(({ key }) => key.startsWith(prefix))
    .filter(({ key, id }) => {
      const order = byBytes(key, keyMarker)
      return keyMarker === '' || order > 0 || (order === 0 && idMarker !== '' && id > idMarker)
    })
    .toSorted((a, b) => byBytes(a.key, b.key) || byBytes(a.id, b.id))
  const page = rest.slice(0, max)
  const truncated = rest.length > max && max > 0
  const last = page.at(-1)
  return xmlAnswer(
    document('ListMultipartUploadsResult', {
      Bucket: name,
      KeyMarker: keyMarker,
      UploadIdMarker: idMarker,
      NextKeyMarker: truncated ? last?.key : undefined,
      NextUploadIdMarker: truncated ? last?.id : undefined,
      Prefix: prefix,
      MaxUploads: max,
      IsTruncated: truncated,
      Upload: page.map(({ key, id, initiatedMs, attributes }) => ({
        Key: key,
        UploadId: id,
        StorageClass: attributes.storageClass,
        Initiated: isoTime(initiatedMs),
      })),
    }),
  )
}

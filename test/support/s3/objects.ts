import { randomBytes } from 'node:crypto'
import { attributesOf, checkTags, encryptionHeaders, type Attributes, type Tag } from './attributes.ts'
import { lengthOf, receiveFile, receiveText } from './body.ts'
import { bucketOf, change, isoTime, objectOf, quoted, xmlAnswer, type Answer, type Call } from './call.ts'
import { checksumHeaders } from './checksums.ts'
import { checkRead, checkWrite, rangeOf } from './conditions.ts'
import { copyFile, sourceOf } from './copy.ts'
import { S3Error } from './error.ts'
import type { StoredObject } from './state.ts'
import { document, elements, textOf } from './xml.ts'

export async function putObject(call: Call): Promise<Answer> {
  const { bucket, key, headers, rules, files } = call
  const { objects } = bucketOf(call)
  const attributes = attributesOf(headers, rules.r2)
  checkWrite(headers, objects.get(key))
  if (lengthOf(call) > rules.maxPartBytes) throw new S3Error('EntityTooLarge')
  const { file, md5, checksums } = await receiveFile(call, files)
  const object: StoredObject = {
    key,
    size: file.size,
    etag: etagOf(md5, attributes),
    modifiedMs: Date.now(),
    attributes,
    checksums,
    files: [file],
  }
  try {
    // Somebody else may have been quicker.
    checkWrite(headers, bucketOf(call).objects.get(key))
    change(call, { type: 'object put', bucket, object })
  } catch (error) {
    files.remove([file])
    throw error
  }
  return {
    status: 200,
    headers: {
      etag: quoted(object.etag),
      ...checksumHeaders(checksums),
      ...encryptionHeaders(attributes.encryption),
    },
  }
}

/** Of bytes under a KMS key the ETag is not the MD5. */
export const etagOf = (md5: Buffer, { encryption }: Attributes): string =>
  (encryption?.algorithm === 'aws:kms' ? randomBytes(16) : md5).toString('hex')

export function getObject(call: Call): Answer {
  const object = objectOf(call)
  const answer = headObject(call)
  if (['GLACIER', 'DEEP_ARCHIVE'].includes(object.attributes.storageClass))
    throw new S3Error('InvalidObjectState')
  const { start, end } = rangeOf(call.headers['range'], object.size) ?? { start: 0, end: object.size }
  return { ...answer, body: call.files.read(object.files, start, end) }
}

export function headObject(call: Call): Answer {
  const object = objectOf(call)
  checkRead(call.headers, object)
  const range = rangeOf(call.headers['range'], object.size)
  const headers = {
    'accept-ranges': 'bytes',
    'content-type': 'binary/octet-stream',
    ...object.attributes.metadata,
    ...overrides(call.query),
    ...stateHeaders(object),
  }
  if (range !== null) {
    const { start, end } = range
    const position = {
      'content-length': end - start,
      'content-range': `bytes ${start}-${end - 1}/${object.size}`,
    }
    return { status: 206, headers: { ...headers, ...position } }
  }
  const checksums = call.headers['x-amz-checksum-mode'] === 'ENABLED' ? checksumHeaders(object.checksums) : {}
  return { status: 200, headers: { ...headers, ...checksums, 'content-length': object.size } }
}

function stateHeaders({ etag, modifiedMs, attributes }: StoredObject): Record<string, string | number> {
  const { encryption, tags, storageClass } = attributes
  return {
    etag: quoted(etag),
    'last-modified': new Date(modifiedMs).toUTCString(),
    ...encryptionHeaders(encryption),
    ...(tags.length > 0 ? { 'x-amz-tagging-count': tags.length } : {}),
    ...(storageClass === 'STANDARD' ? {} : { 'x-amz-storage-class': storageClass }),
  }
}

/** response-content-type=… in the query puts another header into the answer. */
const overrides = (query: URLSearchParams): Record<string, string> =>
  Object.fromEntries(
    Array.from(query)
      .filter(([name]) => name.startsWith('response-'))
      .map(([name, value]) => [name.slice('response-'.length), value]),
  )

export function deleteObject(call: Call): Answer {
  const { bucket, key } = call
  // A key that isn't there is as good as deleted.
  if (bucketOf(call).objects.has(key)) change(call, { type: 'object deleted', bucket, key })
  return { status: 204 }
}

export async function copyObject(call: Call): Promise<Answer> {
  const { bucket, key, headers, rules, files } = call
  bucketOf(call)
  const { source, sourceBucket } = sourceOf(call)
  const replaces = directive(headers['x-amz-metadata-directive'])
  const replacesTags = directive(headers['x-amz-tagging-directive'])
  const given = attributesOf(headers, rules.r2)
  const attributes: Attributes = {
    ...given,
    metadata: replaces ? given.metadata : source.attributes.metadata,
    tags: replacesTags ? given.tags : source.attributes.tags,
  }
  const sameAttributes = !replaces && JSON.stringify(attributes) === JSON.stringify(source.attributes)
  if (sourceBucket === bucket && source.key === key && sameAttributes)
    throw new S3Error('InvalidRequest', 'a copy of an object to itself has to change something')
  if (source.size > rules.maxPartBytes)
    throw new S3Error('InvalidRequest', 'the copy source is larger than a copy may be')

  const { file, md5 } = await copyFile(files, source, { start: 0, end: source.size })
  const object: StoredObject = {
    key,
    size: file.size,
    etag: etagOf(md5, attributes),
    modifiedMs: Date.now(),
    attributes,
    // The checksum of an object of parts says nothing of the same bytes in one piece.
    checksums: source.files.length === 1 ? source.checksums : {},
    files: [file],
  }
  change(call, { type: 'object put', bucket, object })
  const result = { LastModified: isoTime(object.modifiedMs), ETag: quoted(object.etag) }
  return xmlAnswer(document('CopyObjectResult', result), encryptionHeaders(attributes.encryption))
}

function directive(header: string | undefined): boolean {
  if (header !== undefined && header !== 'COPY' && header !== 'REPLACE')
    throw new S3Error('InvalidArgument', `a directive is COPY or REPLACE, not ${header}`)
  return header === 'REPLACE'
}

export function getTagging(call: Call): Answer {
  return xmlAnswer(document('Tagging', { TagSet: { Tag: objectOf(call).attributes.tags.map(tagXml) } }))
}

const tagXml = ({ Key, Value }: Tag) => ({ Key, Value })

export async function putTagging(call: Call): Promise<Answer> {
  objectOf(call)
  const xml = await receiveText(call)
  const tags = elements(xml, 'Tag').map((tag) => ({
    Key: textOf(tag, 'Key') ?? '',
    Value: textOf(tag, 'Value') ?? '',
  }))
  setTags(call, checkTags(tags))
  return { status: 200 }
}

export function deleteTagging(call: Call): Answer {
  setTags(call, [])
  return { status: 204 }
}

function setTags(call: Call, tags: Tag[]): void {
  const object = objectOf(call)
  const attributes = { ...object.attributes, tags }
  change(call, { type: 'object put', bucket: call.bucket, object: { ...object, attributes } })
}

import { randomUUID } from 'node:crypto'
import { attributesOf, encryptionHeaders } from './attributes.ts'
import { lengthOf, receiveFile, type Received } from './body.ts'
import {
  bucketOf,
  change,
  isoTime,
  numberIn,
  quoted,
  uploadOf,
  xmlAnswer,
  type Answer,
  type Call,
} from './call.ts'
import { checksumElements, checksumHeaders, isAlgorithm, type Algorithm } from './checksums.ts'
import { copyFile, sourceOf } from './copy.ts'
import type { Range } from './conditions.ts'
import { S3Error } from './error.ts'
import { etagOf } from './objects.ts'
import type { MultipartUpload, Part } from './state.ts'
import { document } from './xml.ts'

const MAX_PARTS = 10_000
const MAX_LISTED_PARTS = 1000
/** A range may be copied out of a larger object alone. */
const MIN_RANGE_SOURCE_BYTES = 5 * 1024 * 1024

/** Ids grow, so that they stand in the order of creation. */
function newUploadId(): string {
  const time = Date.now().toString(36).padStart(9, '0')
  const within = process.hrtime.bigint().toString(36).padStart(13, '0')
  return `${time}${within}${randomUUID().replaceAll('-', '')}`
}

export function createUpload(call: Call): Answer {
  const { bucket, key, headers, rules } = call
  bucketOf(call)
  const algorithm = algorithmOf(headers)
  const attributes = attributesOf(headers, rules.r2)
  const upload = { id: newUploadId(), key, initiatedMs: Date.now(), attributes, algorithm }
  change(call, { type: 'upload created', bucket, upload })
  return xmlAnswer(
    document('InitiateMultipartUploadResult', { Bucket: bucket, Key: key, UploadId: upload.id }),
    {
      ...encryptionHeaders(attributes.encryption),
      ...(algorithm ? { 'x-amz-checksum-algorithm': algorithm.toUpperCase() } : {}),
    },
  )
}

function algorithmOf(headers: Record<string, string>): Algorithm | null {
  const name = headers['x-amz-checksum-algorithm']?.toLowerCase()
  const type = headers['x-amz-checksum-type'] ?? 'COMPOSITE'
  if (type !== 'COMPOSITE') throw new S3Error('NotImplemented', `checksums of type ${type}`)
  if (name === undefined) return null
  if (!isAlgorithm(name)) throw new S3Error('NotImplemented', `checksum algorithm ${name}`)
  return name
}

export async function uploadPart(call: Call): Promise<Answer> {
  const number = partNumberOf(call)
  const upload = uploadOf(call)
  if (lengthOf(call) > call.rules.maxPartBytes) throw new S3Error('EntityTooLarge')
  checkAlgorithm(call, upload)
  const part = putPart(call, upload, number, await receiveFile(call, call.files))
  return {
    status: 200,
    headers: {
      etag: quoted(part.etag),
      ...checksumHeaders(part.checksums),
      ...encryptionHeaders(upload.attributes.encryption),
    },
  }
}

export async function uploadPartCopy(call: Call): Promise<Answer> {
  const number = partNumberOf(call)
  const upload = uploadOf(call)
  const { source } = sourceOf(call)
  const { start, end } = copiedRange(call, source.size)
  if (end - start > call.rules.maxPartBytes)
    throw new S3Error('InvalidRequest', 'the copy source is larger than a part may be')
  const received = await copyFile(call.files, source, { start, end }, upload.algorithm)
  const part = putPart(call, upload, number, received)
  return xmlAnswer(
    document('CopyPartResult', {
      LastModified: isoTime(part.modifiedMs),
      ETag: quoted(part.etag),
      ...checksumElements(part.checksums),
    }),
    encryptionHeaders(upload.attributes.encryption),
  )
}

function partNumberOf({ query }: Call): number {
  const number = Number(query.get('partNumber'))
  if (!Number.isInteger(number) || number < 1 || number > MAX_PARTS)
    throw new S3Error('InvalidArgument', `Part number must be an integer between 1 and ${MAX_PARTS}`)
  return number
}

/** Stricter than a range of a read: both ends, and inside of the source. */
function copiedRange({ headers }: Call, size: number): Range {
  const header = headers['x-amz-copy-source-range']
  if (header === undefined) return { start: 0, end: size }
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(header) ?? []
  const [start, end] = [Number(first), Number(last) + 1]
  if (!(start < end && end <= size))
    throw new S3Error('InvalidArgument', `Range specified is not valid for source object of size: ${size}`)
  if (size <= MIN_RANGE_SOURCE_BYTES)
    throw new S3Error('InvalidRequest', 'a range may be copied out of a source of more than 5 MiB alone')
  return { start, end }
}

/** An upload that was created with a checksum algorithm takes no part without its checksum. */
function checkAlgorithm({ headers }: Call, { algorithm }: MultipartUpload): void {
  if (algorithm === null) return
  const name = `x-amz-checksum-${algorithm}`
  if (!(name in headers) && headers['x-amz-trailer']?.toLowerCase() !== name)
    throw new S3Error('InvalidRequest', `Checksum Type mismatch occurred, expected ${algorithm}`)
}

function putPart(call: Call, upload: MultipartUpload, number: number, received: Received): Part {
  const { bucket, files } = call
  const { file, md5, checksums } = received
  const etag = etagOf(md5, upload.attributes)
  const part: Part = { number, size: file.size, etag, modifiedMs: Date.now(), checksums, file }
  try {
    // It may have been completed or aborted while the bytes came.
    uploadOf(call)
    change(call, { type: 'part put', bucket, uploadId: upload.id, part })
    return part
  } catch (error) {
    files.remove([file])
    throw error
  }
}

export function abortUpload(call: Call): Answer {
  const { id } = uploadOf(call)
  change(call, { type: 'upload aborted', bucket: call.bucket, uploadId: id })
  return { status: 204 }
}

export function listParts(call: Call): Answer {
  const { bucket, key, query } = call
  const { id, algorithm, attributes, parts } = uploadOf(call)
  const marker = numberIn(query, 'part-number-marker', 0, MAX_PARTS)
  const max = numberIn(query, 'max-parts', MAX_LISTED_PARTS, MAX_LISTED_PARTS)
  const rest = [...parts.values()]
    .filter(({ number }) => number > marker)
    .toSorted((a, b) => a.number - b.number)
  const page = rest.slice(0, max)
  return xmlAnswer(
    document('ListPartsResult', {
      Bucket: bucket,
      Key: key,
      UploadId: id,
      StorageClass: attributes.storageClass,
      PartNumberMarker: marker,
      NextPartNumberMarker: page.at(-1)?.number ?? 0,
      MaxParts: max,
      IsTruncated: rest.length > max,
      ChecksumAlgorithm: algorithm?.toUpperCase(),
      Part: page.map(({ number, modifiedMs, etag, size, checksums }) => ({
        PartNumber: number,
        LastModified: isoTime(modifiedMs),
        ETag: quoted(etag),
        Size: size,
        ...(algorithm ? checksumElements(checksums) : {}),
      })),
    }),
  )
}

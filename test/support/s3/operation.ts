/** Which operation of S3 a request is, from its method, path and query. */

const NOTHING: readonly string[] = []
const OVERRIDES = [
  'response-content-type',
  'response-content-disposition',
  'response-content-encoding',
  'response-content-language',
  'response-cache-control',
  'response-expires',
]

interface Row {
  on: 'service' | 'bucket' | 'object'
  method: string
  /** parameters that make a request this operation */
  marks: readonly string[]
  /** parameters that it may have besides */
  may: readonly string[]
  /** whether x-amz-copy-source makes it another one; null where the header has no meaning */
  copy: boolean | null
}

const row = (
  on: Row['on'],
  method: string,
  marks: readonly string[] = NOTHING,
  may: readonly string[] = NOTHING,
  copy: boolean | null = null,
): Row => ({ on, method, marks, may, copy })

const LISTING = ['prefix', 'delimiter', 'max-keys', 'start-after', 'continuation-token', 'encoding-type']
const UPLOADS = ['prefix', 'key-marker', 'upload-id-marker', 'max-uploads']
const PART = ['uploadId', 'partNumber']

// prettier-ignore
const TABLE = {
  ListBuckets:             row('service', 'GET'),
  CreateBucket:            row('bucket', 'PUT'),
  HeadBucket:              row('bucket', 'HEAD'),
  DeleteBucket:            row('bucket', 'DELETE'),
  ListObjectsV2:           row('bucket', 'GET',    ['list-type'], LISTING),
  ListMultipartUploads:    row('bucket', 'GET',    ['uploads'],   UPLOADS),
  DeleteObjects:           row('bucket', 'POST',   ['delete']),
  PutObject:               row('object', 'PUT',    NOTHING,       NOTHING, false),
  CopyObject:              row('object', 'PUT',    NOTHING,       NOTHING, true),
  GetObject:               row('object', 'GET',    NOTHING,       OVERRIDES),
  HeadObject:              row('object', 'HEAD',   NOTHING,       OVERRIDES),
  DeleteObject:            row('object', 'DELETE'),
  PutObjectTagging:        row('object', 'PUT',    ['tagging']),
  GetObjectTagging:        row('object', 'GET',    ['tagging']),
  DeleteObjectTagging:     row('object', 'DELETE', ['tagging']),
  CreateMultipartUpload:   row('object', 'POST',   ['uploads']),
  UploadPart:              row('object', 'PUT',    PART,          NOTHING, false),
  UploadPartCopy:          row('object', 'PUT',    PART,          NOTHING, true),
  CompleteMultipartUpload: row('object', 'POST',   ['uploadId']),
  AbortMultipartUpload:    row('object', 'DELETE', ['uploadId']),
  ListParts:               row('object', 'GET',    ['uploadId'],  ['max-parts', 'part-number-marker']),
} satisfies Record<string, Row>

export type Operation = keyof typeof TABLE

export interface Target {
  /** null for a request that is none of the operations known here, or has a parameter not known of it */
  operation: Operation | null
  /** decoded */
  path: string
  /** empty on the service */
  bucket: string
  /** empty on a bucket */
  key: string
  query: URLSearchParams
}

/** @param url the target of the request line; never normalised, because keys may have empty or dotted segments */
export function targetOf(method: string, url: string, headers: Record<string, unknown>): Target {
  const [rawPath, rawQuery = ''] = splitOnce(url, '?')
  const path = decode(rawPath)
  const [bucket, key = ''] = splitOnce(path.slice(1), '/')
  // A plus sign is itself in S3's queries, not a space.
  const query = new URLSearchParams(rawQuery.replaceAll('+', '%2B'))
  const on = bucket === '' ? 'service' : key === '' ? 'bucket' : 'object'
  const copy = 'x-amz-copy-source' in headers || query.has('x-amz-copy-source')
  const names = [...query.keys()].filter((name) => name !== 'x-id' && !/^x-amz-/i.test(name))
  for (const [operation, row] of Object.entries(TABLE) as [Operation, Row][])
    if (
      row.on === on &&
      row.method === method &&
      (row.copy === null || row.copy === copy) &&
      row.marks.every((mark) => query.has(mark)) &&
      names.every((name) => row.marks.includes(name) || row.may.includes(name))
    )
      return { operation, path, bucket, key, query }
  return { operation: null, path, bucket, key, query }
}

/** What is badly encoded stays as it is, and is no key that anybody signed. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

export function splitOnce(text: string, separator: string): [string, string?] {
  const at = text.indexOf(separator)
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + separator.length)]
}

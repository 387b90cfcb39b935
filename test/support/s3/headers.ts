import { S3Error } from './error.ts'
import type { Operation } from './operation.ts'

/** Headers of S3 that mean something here; any other is refused, so that no test leans on one that is ignored. */
const KNOWN = new Set([
  'x-amz-content-sha256',
  'x-amz-date',
  'x-amz-user-agent',
  'x-amz-decoded-content-length',
  'x-amz-trailer',
  'x-amz-sdk-checksum-algorithm',
  'x-amz-checksum-algorithm',
  'x-amz-checksum-mode',
  'x-amz-checksum-type',
  'x-amz-checksum-crc32',
  'x-amz-checksum-crc32c',
  'x-amz-checksum-sha1',
  'x-amz-checksum-sha256',
  'x-amz-mp-object-size',
  'x-amz-tagging',
  'x-amz-tagging-directive',
  'x-amz-metadata-directive',
  'x-amz-storage-class',
  'x-amz-server-side-encryption',
  'x-amz-server-side-encryption-aws-kms-key-id',
  'x-amz-copy-source',
  'x-amz-copy-source-range',
  'x-amz-copy-source-if-match',
  'x-amz-copy-source-if-none-match',
  'x-amz-copy-source-if-modified-since',
  'x-amz-copy-source-if-unmodified-since',
])

/** @see https://developers.cloudflare.com/r2/api/s3/api/ */
const NOT_IN_R2 = ['x-amz-tagging', 'x-amz-server-side-encryption', 'x-amz-mp-object-size']

const ENCRYPTING: readonly Operation[] = ['PutObject', 'CopyObject', 'CreateMultipartUpload']

export function checkHeaders(headers: Record<string, string>, operation: Operation, r2: boolean): void {
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith('x-amz-') || name.startsWith('x-amz-meta-')) continue
    if (!KNOWN.has(name) || (r2 && NOT_IN_R2.some((prefix) => name.startsWith(prefix))))
      throw new S3Error('NotImplemented', `Header '${name}' with value '${value}' not implemented`)
    if (name.startsWith('x-amz-server-side-encryption') && !ENCRYPTING.includes(operation))
      throw new S3Error('InvalidArgument', `${name} header is not supported for this operation.`)
  }
}

/** The headers of a request with those that a presigned URL carries in its query. */
export function allHeaders(headers: NodeJS.Dict<string | string[]>, query: URLSearchParams) {
  const all: Record<string, string> = {}
  for (const [name, value] of query)
    if (/^x-amz-/i.test(name) && !SIGNING.has(name)) all[name.toLowerCase()] = value
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined) all[name] = Array.isArray(value) ? value.join(',') : value
  return all
}

const SIGNING = new Set([
  'X-Amz-Algorithm',
  'X-Amz-Credential',
  'X-Amz-Date',
  'X-Amz-Expires',
  'X-Amz-SignedHeaders',
  'X-Amz-Signature',
  'X-Amz-Content-Sha256',
])

import { S3Error } from './error.ts'
import type { Files } from './files.ts'
import type { Bucket, Change, MultipartUpload, State, StoredObject } from './state.ts'

/** What this server is strict about. */
export interface Rules {
  /** Cloudflare R2's limits in place of Amazon's */
  r2: boolean
  region: string
  minPartBytes: number
  maxPartBytes: number
  /** whether CompleteMultipartUpload of a completed upload answers 200 again */
  completesAgain: boolean
}

/** A request whose signature is right. */
export interface Call {
  bucket: string
  key: string
  query: URLSearchParams
  /** in lower case, with those that a presigned URL has in its query */
  headers: Record<string, string>
  /** what the signature says of the body */
  payload: string
  /** asks for the body; a request that is refused before is never asked */
  body(): AsyncIterable<Buffer>
  rules: Rules
  state: State
  files: Files
}

export interface Answer {
  status: number
  headers?: Record<string, string | number>
  body?: string | AsyncIterable<Uint8Array>
}

export type Handler = (call: Call) => Promise<Answer> | Answer

export const xmlAnswer = (body: string, headers: Record<string, string> = {}): Answer => ({
  status: 200,
  headers: { 'content-type': 'application/xml', ...headers },
  body,
})

export const quoted = (etag: string): string => `"${etag}"`

export const isoTime = (ms: number): string => new Date(ms).toISOString()

/** The order of keys: by their bytes in UTF-8. */
export const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))

/** Makes a change and lets go of the files that it leaves behind. */
export function change({ state, files }: Call, what: Change): void {
  files.remove(state.change(what))
}

export function bucketOf({ state, bucket }: Call, name = bucket): Bucket {
  const found = state.buckets.get(name)
  if (!found) throw new S3Error('NoSuchBucket')
  return found
}

export function objectOf(call: Call): StoredObject {
  const object = bucketOf(call).objects.get(call.key)
  if (!object) throw new S3Error('NoSuchKey')
  return object
}

export function uploadOf(call: Call): MultipartUpload {
  const upload = bucketOf(call).uploads.get(call.query.get('uploadId') ?? '')
  if (upload?.key !== call.key) throw new S3Error('NoSuchUpload')
  return upload
}

/** A count or number in the query. */
export function numberIn(query: URLSearchParams, name: string, fallback: number, max: number): number {
  const text = query.get(name)
  if (text === null) return fallback
  if (!/^\d+$/.test(text)) throw new S3Error('InvalidArgument', `${name} is no number`)
  return Math.min(Number(text), max)
}

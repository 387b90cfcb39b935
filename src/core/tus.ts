import { HttpError } from './errors.ts'
import type { Upload } from './upload.ts'

export const TUS_VERSION = '1.0.0'
export const APPEND_TYPE = 'application/offset+octet-stream'

/** What a client may tell about a file, as the header carries it. */
export const MAX_METADATA_BYTES = 4096

/** Upload-Metadata, decoded: a key may have no value. */
export type TusMetadata = Readonly<Record<string, string | null>>

/**
 * A length or an offset in a header: decimal digits and nothing else, 2^53-1 at most.
 * @throws {HttpError} bad_request 400 that names the header
 */
export function parseBytes(header: string, text: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(value)) return value
  throw new HttpError('bad_request', { detail: `${header} must be a whole number of bytes.` })
}

/** The name and type of a file by the keys that the common clients send. */
export function describeFile(metadata: TusMetadata): Pick<Upload, 'fileName' | 'contentType'> {
  return {
    fileName: metadata['filename'] || metadata['name'] || 'file',
    contentType: metadata['filetype'] || metadata['type'] || metadata['contentType'] || null,
  }
}

/** The metadata of an upload as tus tells it, whoever created it: text values only. */
export function tusMetadata(upload: Upload): TusMetadata {
  const told = Object.entries(upload.metadata).map(([key, value]) => [
    key,
    value === null || typeof value === 'string' ? value : JSON.stringify(value),
  ])
  if (upload.dialect === 'tus') return Object.fromEntries(told)
  return {
    filename: upload.fileName,
    ...(upload.contentType !== null && { filetype: upload.contentType }),
    ...Object.fromEntries(told.filter(([key]) => /^[\x21-\x2b\x2d-\x7e]+$/.test(String(key)))),
  }
}

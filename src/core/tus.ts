import { HttpError } from './errors.ts'
import { isUploadId, type Upload } from './upload.ts'

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

/**
 * The name and type of a file by the keys that the common clients send.
 * @throws {HttpError} bad_request 400 for a NUL, which no database stores
 */
export function describeFile(metadata: TusMetadata): Pick<Upload, 'fileName' | 'contentType'> {
  if (Object.values(metadata).some((value) => value?.includes('\0')))
    throw new HttpError('bad_request', { detail: 'Upload-Metadata has a NUL in a value.' })
  return {
    fileName: metadata['filename'] || metadata['name'] || metadata['fileName'] || 'file',
    contentType: metadata['filetype'] || metadata['type'] || metadata['contentType'] || null,
  }
}

/** The metadata of an upload as tus tells it, whoever created it: text values only. */
export function tusMetadata(upload: Upload): TusMetadata {
  const told: TusMetadata = Object.fromEntries(
    Object.entries(upload.metadata).map(([key, value]) => [
      key,
      value === null || typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  )
  if (upload.dialect === 'tus') return told
  return {
    filename: upload.fileName,
    ...(upload.contentType !== null && { filetype: upload.contentType }),
    ...Object.fromEntries<string | null>(Object.entries(told).filter(([key]) => HEADER_KEY.test(key))),
  }
}

/** ASCII without spaces and commas: what the header can carry. */
const HEADER_KEY = /^[\x21-\x2b\x2d-\x7e]+$/

/** `Upload-Concat`, read: for a final upload the ids of its parts, in order. */
export type Concat = 'partial' | { parts: string[] }

/**
 * Reads an Upload-Concat header. Its URLs may be absolute or relative; what counts is their id.
 * @param maxParts how many parts a final upload may have
 * @throws {HttpError} bad_request 400, not_found 404 for a URL that is no upload of ours
 * @see https://tus.io/protocols/resumable-upload#concatenation
 */
export function parseConcat(header: string, maxParts: number): Concat {
  if (header === 'partial') return 'partial'
  const list = /^final;\s*(.+)$/.exec(header)?.[1]
  if (list === undefined)
    throw new HttpError('bad_request', { detail: 'Upload-Concat must be partial, or final; and URLs.' })
  const urls = list.trim().split(/ +/)
  if (urls.length > maxParts)
    throw new HttpError('bad_request', { detail: `Upload-Concat may name ${maxParts} uploads at most.` })
  return { parts: urls.map(partId) }
}

function partId(url: string): string {
  const id = /^(?:https?:\/\/[^/?#]+)?(?:\/[^?#]*)?\/files\/([^/?#]+)\/?$/.exec(url)?.[1]
  if (id === undefined || !isUploadId(id))
    throw new HttpError('not_found', { detail: 'Upload-Concat names something that is no upload.' })
  return id
}

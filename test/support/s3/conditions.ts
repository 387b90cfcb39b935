import { S3Error } from './error.ts'

type Headers = Record<string, string>

interface Version {
  etag: string
  modifiedMs: number
}

/** An ETag as it is stored: without quotes. */
export const bareEtag = (etag: string): string => etag.trim().replace(/^W\//, '').replaceAll('"', '')

const names = (header: string, etag: string) =>
  header.trim() === '*' || header.split(',').some((item) => bareEtag(item) === etag)

/**
 * The conditions of a read, or of the source of a copy.
 * @param prefix of their headers, for a copy
 * @see RFC 9110, section 13.2.2: If-Match outranks If-Unmodified-Since, If-None-Match If-Modified-Since
 */
export function checkRead(headers: Headers, object: Version, prefix = ''): void {
  const header = (name: string) => headers[prefix + name]
  // A header has whole seconds.
  const modifiedMs = Math.floor(object.modifiedMs / 1000) * 1000
  const match = header('if-match')
  const noneMatch = header('if-none-match')
  const failed =
    match === undefined
      ? modifiedMs > Date.parse(header('if-unmodified-since') ?? '')
      : !names(match, object.etag)
  if (failed) throw new S3Error('PreconditionFailed')
  const unchanged =
    noneMatch === undefined
      ? modifiedMs <= Date.parse(header('if-modified-since') ?? '')
      : names(noneMatch, object.etag)
  if (unchanged) throw new S3Error(prefix === '' ? 'NotModified' : 'PreconditionFailed')
}

/** The conditions under which an object may be written. */
export function checkWrite(headers: Headers, existing: Version | undefined): void {
  const match = headers['if-match']
  const noneMatch = headers['if-none-match']
  if (noneMatch !== undefined && noneMatch !== '*')
    throw new S3Error('NotImplemented', 'a write may have If-None-Match with * alone')
  if (noneMatch === '*' && existing) throw new S3Error('PreconditionFailed')
  if (match === undefined) return
  if (!existing) throw new S3Error('NoSuchKey')
  if (!names(match, existing.etag)) throw new S3Error('PreconditionFailed')
}

export interface Range {
  start: number
  /** not in the range any more */
  end: number
}

/**
 * One range of bytes; null where there is none or it makes no sense, and everything is meant.
 * @throws {S3Error} InvalidRange where it lies behind the object
 */
export function rangeOf(header: string | undefined, size: number): Range | null {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return null
  const start = first === '' ? Math.max(size - Number(last), 0) : Number(first)
  const end = first === '' || last === '' ? size : Math.min(Number(last) + 1, size)
  if (first !== '' && last !== '' && Number(last) < start) return null
  if (start >= size) throw new S3Error('InvalidRange')
  return { start, end }
}

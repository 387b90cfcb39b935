import type { IncomingHttpHeaders } from 'node:http'
import type { Upload } from '../core/upload.ts'
import { httpDate } from './range-header.ts'

export interface Validators {
  etag: string
  /** whole seconds, as Last-Modified has them */
  modifiedMs: number
}

/** A completed file never changes: its id is a strong ETag. */
export const validatorsOf = ({ id, updatedAt }: Upload): Validators => ({
  etag: `"${id}"`,
  // RFC 9110 §8.8.2.1: never later than now, though the ledger's clock may be ahead of ours.
  modifiedMs: Math.floor(Math.min(updatedAt.getTime(), Date.now()) / 1000) * 1000,
})

/** What the conditions of a GET or HEAD say, in the order of RFC 9110 §13.2.2. */
export function judge(
  headers: IncomingHttpHeaders,
  { etag, modifiedMs }: Validators,
): 'go' | 'failed' | 'unchanged' {
  const match = headers['if-match']
  const noneMatch = headers['if-none-match']
  // A date that is none compares false with everything: §13.1.3 and §13.1.4 have it ignored.
  if (match !== undefined ? !lists(match, etag) : modifiedMs > httpDate(headers['if-unmodified-since']))
    return 'failed'
  // §13.1.2 compares weakly: a W/ in front of our tag makes no difference.
  if (
    noneMatch !== undefined
      ? lists(noneMatch, etag, 'W/')
      : modifiedMs <= httpDate(headers['if-modified-since'])
  )
    return 'unchanged'
  return 'go'
}

/** Whether a list of entity tags has this one: as it is, or behind `alsoWith` as well. */
export const lists = (header: string, etag: string, alsoWith = ''): boolean =>
  header.trim() === '*' ||
  (header.match(/(?:W\/)?"[^"]*"/g) ?? []).some((tag) => tag === etag || tag === alsoWith + etag)

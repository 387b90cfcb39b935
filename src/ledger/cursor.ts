import { HttpError } from '../core/errors.ts'
import { isUploadId, type Upload } from '../core/upload.ts'

/** The place of an upload in its owner's list. */
export type Place = Pick<Upload, 'createdAt' | 'id'>

export const toCursor = ({ createdAt, id }: Place): string =>
  Buffer.from(`${createdAt.toISOString()} ${id}`).toString('base64url')

/** @throws {HttpError} unprocessable 422: it is none of ours */
export function fromCursor(cursor: string): Place {
  const [time = '', id = ''] = Buffer.from(cursor, 'base64url').toString().split(' ')
  const place = { createdAt: new Date(time), id }
  // A date of four digits: others are dates to JavaScript, and not to every database.
  const dated = /^[1-9]\d{3}-/.test(time) && !isNaN(place.createdAt.getTime())
  if (!dated || !isUploadId(id) || toCursor(place) !== cursor)
    throw new HttpError('unprocessable', { detail: 'cursor: not one that this list gave out.' })
  return place
}

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
  if (isNaN(place.createdAt.getTime()) || !isUploadId(id) || toCursor(place) !== cursor)
    throw new HttpError('unprocessable', { detail: 'cursor: not one that this list gave out.' })
  return place
}

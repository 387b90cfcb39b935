import { HttpError } from './errors.ts'
import { publicStatus, type Upload } from './upload.ts'

/**
 * What an upload takes of its owner's quota: the length that was declared for it, or what is committed
 * while none is. Nothing once it has failed, has expired or was deleted.
 */
export function reservedBytes(upload: Upload | null): number {
  if (!upload || upload.status === 'FAILED' || publicStatus(upload.status) === 'ABORTED') return 0
  return upload.size ?? upload.storedCells * upload.chunkSize + (upload.offset % upload.chunkSize)
}

export const overQuota = (maxBytesPerUser: number): HttpError =>
  new HttpError('payload_too_large', {
    detail: `All uploads of a user together may have ${maxBytesPerUser} bytes: there is no room for this.`,
  })

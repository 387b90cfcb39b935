import { HttpError, unavailable } from '../../core/errors.ts'
import type { StorageNotes } from '../../core/ports/ledger.ts'
import type { Upload } from '../../core/upload.ts'
import type { Bucket, Condition, Payload } from './bucket.ts'
import { isMissing, isRefusedByCondition, isUnknownCondition } from './errors.ts'
import type { Keys } from './refs.ts'
import type { Effort } from './retry.ts'

/** Two writers may get in each other's way, but not for long. */
const LOOKS = 5

export type PutFile = (upload: Upload, payload: Payload, effort: Effort) => Promise<string>

/**
 * Makes the object of a file of one cell by a single request. It may be there: written by a try
 * that never counted, or by a writer who was quicker and whose bytes count. Those must not be
 * overwritten, not even by a writer who was asleep for an hour; so every write is conditional, and
 * replaces nothing but the very object that was seen before the ledger was asked.
 * @returns the object's ETag
 */
export function createPutFile(
  bucket: Pick<Bucket, 'putFile' | 'head'>,
  keys: Keys,
  notes: Pick<StorageNotes, 'cells'>,
): PutFile {
  // Not every engine knows these conditions, or both.
  let knows = true
  let knowsEtags = true

  const put = async (key: string, payload: Payload, condition: Condition, effort: Effort) => {
    if (!knows || (!knowsEtags && 'etag' in condition)) return bucket.putFile(key, payload, null, effort)
    try {
      return await bucket.putFile(key, payload, condition, effort)
    } catch (error) {
      if (!isUnknownCondition(error)) throw error
      const etag = await bucket.putFile(key, payload, null, effort)
      knows = false
      return etag
    }
  }

  return async ({ id }, payload, effort) => {
    const key = keys.object(id)
    let condition: Condition = { absent: true }
    for (let look = 0; look < LOOKS; look++) {
      try {
        return await put(key, payload, condition, effort)
      } catch (error) {
        // Where the object to be replaced is gone, S3 says that it is missing.
        if (!isRefusedByCondition(error) && !isMissing(error)) throw error
      }
      const etag = await etagOf(key)
      if (etag !== null && (await counts(id, payload.sha256))) return etag
      // Refused though it is the very object: the engine refuses them all.
      if ('etag' in condition && condition.etag === etag) knowsEtags = false
      condition = etag === null ? { absent: true } : { etag }
    }
    throw unavailable('The file is being written by others; try again.')
  }

  async function etagOf(key: string): Promise<string | null> {
    try {
      return (await bucket.head(key)).etag
    } catch (error) {
      if (isMissing(error)) return null
      throw error
    }
  }

  /** @throws {HttpError} conflict 409 when other bytes count */
  async function counts(id: string, sha256: string): Promise<boolean> {
    const [cell] = await notes.cells(id)
    if (!cell?.whole) return false
    if (cell.sha256 === sha256) return true
    throw new HttpError('conflict', { detail: 'The bytes were stored by another request meanwhile.' })
  }
}

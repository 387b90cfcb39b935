import type { Upload } from '../../core/upload.ts'
import { atATime } from './at-a-time.ts'
import type { Bucket } from './bucket.ts'
import { isNotImplemented } from './errors.ts'
import type { Keys } from './refs.ts'
import { abortIfThere } from './upload-ids.ts'

type Removing = Pick<Bucket, 'abortUpload' | 'listUploads' | 'deleteObject' | 'list'>

const AT_A_TIME = 16

/** Removes what lies beside the object of a file. */
export async function removePieces(bucket: Removing, keys: Keys, id: string): Promise<void> {
  const pieces: string[] = []
  for await (const key of bucket.list(keys.staged(id))) pieces.push(key)
  await atATime(AT_A_TIME, pieces, (key) => bucket.deleteObject(key))
}

/**
 * Removes everything under the keys of an upload, and nothing else. A completed one whose bytes were
 * never beside their place nor in parts is its object alone: one request.
 */
export async function removeAll(bucket: Removing, keys: Keys, upload: Upload): Promise<void> {
  const { id, status, staged, storageId } = upload
  const key = keys.object(id)
  const completed = status === 'COMPLETED'
  if (!completed || storageId !== null) {
    // The one that a completed upload knows of has become its object.
    const known = completed || storageId === null ? [] : [storageId]
    for (const uploadId of new Set([...known, ...(await others(bucket, key))]))
      await abortIfThere(bucket, key, uploadId)
  }
  await bucket.deleteObject(key)
  if (!completed || staged) await removePieces(bucket, keys, id)
}

/** Multipart uploads that never came to count, or that the row does not tell of. */
async function others(bucket: Removing, key: string): Promise<string[]> {
  try {
    return await bucket.listUploads(key)
  } catch (error) {
    if (isNotImplemented(error)) return []
    throw error
  }
}

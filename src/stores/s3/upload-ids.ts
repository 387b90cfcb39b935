import { HttpError } from '../../core/errors.ts'
import type { StorageNotes } from '../../core/ports/ledger.ts'
import type { Upload } from '../../core/upload.ts'
import type { Bucket } from './bucket.ts'
import { isCode } from './errors.ts'
import { createMemory } from './memory.ts'
import type { Keys } from './refs.ts'
import type { Effort } from './retry.ts'

export interface UploadIds {
  /** The one multipart upload of a file. The first part creates it; the ledger decides whose counts. */
  of(upload: Upload, effort?: Effort): Promise<string>
}

export function createUploadIds(
  bucket: Pick<Bucket, 'createUpload' | 'abortUpload'>,
  keys: Keys,
  notes: Pick<StorageNotes, 'claimStorageId'>,
): UploadIds {
  // The row that a use case holds may be older than the claim.
  const known = createMemory<string>()
  const creating = new Map<string, Promise<string>>()

  const create = async ({ id }: Upload, effort: Effort | undefined): Promise<string> => {
    const key = keys.object(id)
    const ours = await bucket.createUpload(key, effort)
    const counts = await notes.claimStorageId(id, ours).catch(async (error: unknown) => {
      await abort(key, ours)
      throw error
    })
    if (counts !== ours) await abort(key, ours)
    if (counts === null) throw new HttpError('conflict', { detail: 'The upload takes no more bytes.' })
    known.set(id, counts)
    return counts
  }

  /** What stays of it costs money until a lifecycle rule takes it away, and does no other harm. */
  const abort = (key: string, uploadId: string) => bucket.abortUpload(key, uploadId).catch(() => {})

  const of = async (upload: Upload, effort?: Effort): Promise<string> => {
    const id = upload.storageId ?? known.get(upload.id)
    if (id !== undefined) return id
    const begun = creating.get(upload.id)
    if (begun) {
      try {
        return await begun
      } catch (error) {
        // That its writer lost its place says nothing of this one.
        if (error instanceof HttpError && error.code === 'locked') return of(upload, effort)
        throw error
      }
    }
    const created = create(upload, effort).finally(() => creating.delete(upload.id))
    creating.set(upload.id, created)
    return created
  }
  return { of }
}

/** What is not there need not be aborted. */
export async function abortIfThere(
  bucket: Pick<Bucket, 'abortUpload'>,
  key: string,
  uploadId: string,
): Promise<void> {
  try {
    await bucket.abortUpload(key, uploadId)
  } catch (error) {
    if (!isCode(error, 'NoSuchUpload')) throw error
  }
}

/** Some engines stumble where they should say that there is no such upload; listing its parts tells. */
export async function isGone(
  bucket: Pick<Bucket, 'listParts'>,
  key: string,
  uploadId: string,
): Promise<boolean> {
  try {
    await bucket.listParts(key, uploadId).next()
    return false
  } catch (error) {
    if (isCode(error, 'NoSuchUpload', 'NoSuchKey')) return true
    throw error
  }
}

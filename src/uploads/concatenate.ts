import { createHash } from 'node:crypto'
import { HttpError } from '../core/errors.ts'
import { isFull, planChunkSize } from '../core/geometry.ts'
import { parseConcat } from '../core/tus.ts'
import { assertNotExpired, isOpen, isPartial, type NewUpload, type Upload } from '../core/upload.ts'
import { assertFits, assertRoom } from './create.ts'
import { expiryFrom, type Deps, type Settle, type WriteDeps } from './deps.ts'

export interface Concatenate extends Pick<
  NewUpload,
  'id' | 'ownerId' | 'fileName' | 'contentType' | 'metadata'
> {
  /** the Upload-Concat header of a final upload */
  concat: string
  /** the ids it names, in order; one may stand in it twice */
  parts: readonly string[]
}

/** How long parts live on once their final upload is there: their bytes are twice on the disk. */
const USED_PART_MS = 3_600_000

/**
 * Makes a final upload of partial ones. It is built beside them; they expire in their own time and
 * may stand in further final uploads until then. The same list of the same owner gives the upload
 * that it gave before.
 * @throws {HttpError} bad_request 400 for parts that are none or unfinished, forbidden 403,
 * not_found 404, gone 410, payload_too_large 413, insufficient_storage 507
 * @see https://tus.io/protocols/resumable-upload#concatenation
 */
export const concatenate =
  (deps: WriteDeps) =>
  async ({ parts: ids, ...wanted }: Concatenate): Promise<Upload> => {
    const { ledger, store, limits, meter } = deps
    const key = createHash('sha256')
      .update([wanted.ownerId, ...ids].join('\0'))
      .digest('hex')
    const known = await ledger.findFinal(key)
    const upload = known ?? (await createFinal())
    if (upload.id === wanted.id) meter.uploadCreated('tus')
    return upload.status === 'FINALIZING' ? deps.finish(upload.id) : upload

    async function createFinal(): Promise<Upload> {
      const now = deps.now()
      const expiresAt = expiryFrom(now, deps)
      const parts = await findParts(deps, ids)
      for (const part of parts) assertUsable(part, wanted.ownerId, deps.expiryNow())
      const size = parts.reduce((sum, part) => sum + (part.size ?? 0), 0)
      assertFits(size, limits.maxUploadBytes)
      await assertRoom(deps, size)
      await ledger.setExpiry(ids, expiresAt)
      const chunkSize = planChunkSize(size, null, { ...limits, maxChunkBytes: store.maxChunkBytes })
      const rest = { dialect: 'tus', checksumSha256: null, createdAt: now, expiresAt } as const
      return ledger.createFinal({ ...wanted, ...rest, size, chunkSize }, key)
    }
  }

/** In the order of `ids`. @throws {HttpError} not_found 404 */
async function findParts({ ledger }: Deps, ids: readonly string[]): Promise<Upload[]> {
  const found = new Map((await ledger.getAll([...new Set(ids)])).map((part) => [part.id, part]))
  return ids.map((id) => {
    const part = found.get(id)
    if (part) return part
    throw new HttpError('not_found', { detail: 'Upload-Concat names an upload that is not there.' })
  })
}

function assertUsable(part: Upload, ownerId: string, now: Date): void {
  if (part.ownerId !== ownerId) throw new HttpError('forbidden')
  assertNotExpired(part, now)
  if (!isPartial(part))
    throw new HttpError('bad_request', { detail: 'Upload-Concat names an upload that is not partial.' })
  if (!isFull(part))
    throw new HttpError('bad_request', { detail: 'Upload-Concat names an upload that is not finished.' })
}

/**
 * Copies the parts' bytes into their final upload; may be repeated after a crash. A final whose parts
 * are gone, were changed under our hands or don't fit on the disk can't be finished: it is FAILED, and
 * the same list may be sent again.
 */
export async function joinParts(deps: Deps, upload: Upload, settle: Settle): Promise<void> {
  const { ledger, store, limits } = deps
  const concat = parseConcat(upload.concat ?? '', limits.maxConcatParts)
  const ids = concat === 'partial' ? [] : concat.parts
  // The parts have all of its bytes, and nobody will ask for what was made of it.
  const fail = async (reason: string): Promise<void> => {
    if (await settle('FAILED', reason)) await store.remove({ ...upload, status: 'FAILED' })
  }

  const before = await wholeParts(deps, ids)
  if (!before) {
    await fail('a partial upload is gone')
    throw new HttpError('conflict', { detail: 'A partial upload is gone.' })
  }
  try {
    await store.concat(upload, before)
  } catch (error) {
    if (error instanceof HttpError && error.code === 'insufficient_storage') await fail('no room')
    if (error instanceof HttpError && error.code === 'storage_lost') await fail(error.message)
    throw error
  }
  // A part may be freed and written again while it is copied; then the copy is worth nothing.
  const after = await wholeParts(deps, ids)
  if (!after?.every((part, i) => part.updatedAt.getTime() === before[i]?.updatedAt.getTime())) {
    await fail('a partial upload was changed meanwhile')
    throw new HttpError('conflict', { detail: 'A partial upload was changed while it was copied.' })
  }
  await ledger.setExpiry(ids, new Date(deps.now().getTime() + Math.min(USED_PART_MS, limits.uploadTtlMs)))
}

/** The parts, if each still has all its bytes: what expires is there until it is reaped. */
async function wholeParts({ ledger }: Deps, ids: readonly string[]): Promise<Upload[] | null> {
  const found = new Map((await ledger.getAll([...new Set(ids)])).map((part) => [part.id, part]))
  const parts = ids.map((id) => found.get(id))
  return parts.every((part) => part && isPartial(part) && isOpen(part.status) && isFull(part))
    ? (parts as Upload[])
    : null
}

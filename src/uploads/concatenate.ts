import { createHash } from 'node:crypto'
import { HttpError } from '../core/errors.ts'
import { isFull, planChunkSize } from '../core/geometry.ts'
import { parseConcat } from '../core/tus.ts'
import { assertNotExpired, isPartial, type NewUpload, type Upload } from '../core/upload.ts'
import { assertFits } from './create.ts'
import { expiryFrom, type Deps, type WriteDeps } from './deps.ts'

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
 * not_found 404, gone 410, payload_too_large 413
 * @see https://tus.io/protocols/resumable-upload#concatenation
 */
export const concatenate =
  (deps: WriteDeps) =>
  async ({ parts: ids, ...wanted }: Concatenate): Promise<Upload> => {
    const { ledger, limits, meter } = deps
    const key = createHash('sha256')
      .update([wanted.ownerId, ...ids].join('\0'))
      .digest('hex')
    const known = await ledger.findFinal(key)
    const upload = known ?? (await createFinal())
    if (upload.id === wanted.id) meter.uploadCreated('tus')
    return upload.status === 'FINALIZING' ? deps.finish(upload) : upload

    async function createFinal(): Promise<Upload> {
      const now = deps.now()
      const expiresAt = expiryFrom(now, deps)
      const parts = await findParts(deps, ids)
      for (const part of parts) assertUsable(part, wanted.ownerId, now)
      const size = parts.reduce((sum, part) => sum + (part.size ?? 0), 0)
      assertFits(size, limits.maxUploadBytes)
      await ledger.setExpiry(ids, expiresAt)
      const chunkSize = planChunkSize(size, null, limits)
      const rest = { dialect: 'tus', checksumSha256: null, createdAt: now, expiresAt } as const
      return ledger.createFinal({ ...wanted, ...rest, size, chunkSize }, key)
    }
  }

/** In the order of `ids`, each looked up once. @throws {HttpError} not_found 404 */
async function findParts({ ledger }: Deps, ids: readonly string[]): Promise<Upload[]> {
  const found = new Map<string, Upload>()
  for (const id of new Set(ids)) {
    const part = await ledger.get(id)
    if (!part)
      throw new HttpError('not_found', { detail: 'Upload-Concat names an upload that is not there.' })
    found.set(id, part)
  }
  return ids.map((id) => found.get(id) as Upload)
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
 * Copies the parts' bytes into their final upload; may be repeated after a crash. Without its parts
 * it can never be finished, and is FAILED.
 */
export async function joinParts(deps: Deps, upload: Upload): Promise<void> {
  const { ledger, store, limits } = deps
  const concat = parseConcat(upload.concat ?? '', limits.maxConcatParts)
  const ids = concat === 'partial' ? [] : concat.parts
  let parts: Upload[]
  try {
    parts = await findParts(deps, ids)
  } catch (error) {
    if (error instanceof HttpError && error.code === 'not_found')
      await ledger.transition(upload.id, 'FAILED', deps.now(), 'a partial upload is gone')
    throw error
  }
  await store.concat(upload, parts)
  await ledger.setExpiry(ids, new Date(deps.now().getTime() + Math.min(USED_PART_MS, limits.uploadTtlMs)))
}

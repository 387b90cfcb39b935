import { HttpError } from '../core/errors.ts'
import { planChunkSize } from '../core/geometry.ts'
import type { Done, Once } from '../core/ports/ledger.ts'
import { completesByItself, type NewUpload, type Upload } from '../core/upload.ts'
import { expiryFrom, type Deps } from './deps.ts'
import { assertSame, doneOf, look } from './once.ts'

export interface Create extends Pick<
  Upload,
  | 'id'
  | 'ownerId'
  | 'dialect'
  | 'fileName'
  | 'size'
  | 'contentType'
  | 'metadata'
  | 'concat'
  | 'checksumSha256'
> {
  /** the cell size that the client asks for; null for ours */
  chunkSize: number | null
}

/**
 * Creates an upload: one row, no file. An empty file of tus is complete at once.
 * @throws {HttpError} payload_too_large 413, unprocessable 422, insufficient_storage 507
 */
export const createUpload =
  (deps: Deps) =>
  async (create: Create): Promise<Upload> => {
    const { ledger, meter } = deps
    const fresh = await plan(deps, create)
    const upload = await ledger.create(fresh)
    meter.uploadCreated(create.dialect)
    if (create.size !== 0 || !completesByItself(upload)) return upload

    const done = await ledger.commit({
      id: create.id,
      cells: [],
      appendOffset: null,
      at: fresh.createdAt,
      expiresAt: fresh.expiresAt,
      whenFull: 'COMPLETED',
    })
    if (done.ok && done.reached === 'COMPLETED') meter.uploadCompleted(create.dialect)
    return done.upload ?? upload
  }

/**
 * Creates an upload of `init` for a request with a key: the first time. Every time it tells the same,
 * also when the upload is finished or gone by now.
 * @param tell what is answered, as JSON takes it
 * @throws {HttpError} payload_too_large 413, unprocessable 422, conflict 409 when the key stands for
 * another request
 */
export const createUploadOnce =
  (deps: Deps) =>
  async <T>(create: Create, once: Once, tell: (upload: NewUpload) => T): Promise<T> => {
    const { done } = await look(deps, null, once)
    if (done) return toldBy<T>(done)
    const fresh = await plan(deps, create)
    const answer = tell(fresh)
    const earlier = await deps.ledger.createOnce(fresh, doneOf(deps, once, JSON.stringify(answer)))
    assertSame(earlier, once)
    if (earlier) return toldBy<T>(earlier)
    deps.meter.uploadCreated(create.dialect)
    return answer
  }

const toldBy = <T>({ answer }: Done): T => JSON.parse(answer ?? 'null') as T

/** @throws {HttpError} payload_too_large 413, unprocessable 422, insufficient_storage 507 */
async function plan(deps: Deps, create: Create): Promise<NewUpload> {
  const { store, limits } = deps
  assertFits(create.size, limits.maxUploadBytes)
  const now = deps.now()
  const chunkSize = planChunkSize(create.size, create.chunkSize, {
    ...limits,
    maxChunkBytes: store.maxChunkBytes,
  })
  await assertRoom(deps, create.size)
  return { ...create, chunkSize, createdAt: now, expiresAt: expiryFrom(now, deps) }
}

/** @throws {HttpError} payload_too_large 413 with Tus-Max-Size */
export function assertFits(size: number | null, maxUploadBytes: number): void {
  if (size !== null && size > maxUploadBytes)
    throw new HttpError('payload_too_large', {
      detail: `The file is longer than the ${maxUploadBytes} bytes that this server takes.`,
      headers: { 'Tus-Max-Size': String(maxUploadBytes) },
    })
}

/**
 * What can't end is not begun, and what is under way has room to end. Nothing is set aside: several new
 * uploads may count on the same room, and be told 507 in the middle.
 * @throws {HttpError} insufficient_storage 507
 */
export async function assertRoom({ store, limits }: Deps, size: number | null): Promise<void> {
  if (limits.minFreeDiskBytes === 0 || !store.freeBytes) return
  if ((await store.freeBytes()) - (size ?? 0) < limits.minFreeDiskBytes)
    throw new HttpError('insufficient_storage')
}

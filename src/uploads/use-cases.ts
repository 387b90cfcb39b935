import { HttpError } from '../core/errors.ts'
import { cellCount, isFull, missingCells } from '../core/geometry.ts'
import type { ListQuery, Once } from '../core/ports/ledger.ts'
import { assertNotExpired, isUploadId, publicStatus, type Upload } from '../core/upload.ts'
import { appendTo } from './append.ts'
import { completeUpload, finisher, resumeFinalizing, settled } from './complete.ts'
import { concatenate } from './concatenate.ts'
import { createUpload, createUploadOnce, type Create } from './create.ts'
import type { Deps } from './deps.ts'
import { reap } from './expire.ts'
import { forgetKeys } from './forget-keys.ts'
import { freeChunk } from './free-chunk.ts'
import { look } from './once.ts'
import { putChunk } from './put-chunk.ts'
import { oncePerTurn } from './once-per-turn.ts'
import { removeUpload } from './remove.ts'
import { watchUploads } from './watch.ts'

/** Everything that can be done with uploads, in whatever dialect it was asked for. */
export const createUploads = (deps: Deps) => {
  const owners = rememberOwners(deps)
  const finish = finisher(deps)
  const writing = { ...deps, finish }
  const createNew = createUpload(deps)
  return {
    create: async (create: Create): Promise<Upload> => {
      const upload = await createNew(create)
      owners.remember(upload)
      return upload
    },
    createOnce: createUploadOnce(deps),
    /** Whether this very request has succeeded before. @throws {HttpError} conflict 409: another one has the key */
    wasDone: async (once: Once): Promise<boolean> => (await look(deps, null, once)).done !== null,
    append: appendTo(writing),
    putChunk: putChunk(writing),
    freeChunk: freeChunk(deps),
    concatenate: concatenate(writing),
    complete: completeUpload(deps, finish),
    remove: async (id: string): Promise<void> => {
      await removeUpload(deps)(id)
      owners.forget(id)
    },
    reap: reap(deps),
    forgetKeys: forgetKeys(deps),
    resumeFinalizing: resumeFinalizing(deps),
    list: (query: ListQuery) => deps.ledger.list(query),
    get: getUpload(deps),
    /** The same, for what many ask at once. */
    getToRead: oncePerTurn(getUpload(deps)),
    /** The same, once it is not being completed any more, or after a while. */
    getSettled: async (id: string): Promise<Upload> => visible(deps, await settled(deps, finish, id)),
    authorise: owners.authorise,
    missingChunks: missingChunks(deps),
    watching: watchUploads(deps),
    /** The bytes from `start` up to but not including `end`. */
    read: (upload: Upload, range: { start: number; end: number }) => deps.store.read(upload, range),
    /** A URL in the storage for them, where downloads don't go through us. */
    ...(deps.store.presign && { presign: deps.store.presign }),
  }
}

export type Uploads = ReturnType<typeof createUploads>

/** @throws {HttpError} not_found 404, gone 410 */
const getUpload =
  (deps: Deps) =>
  async (id: string): Promise<Upload> =>
    visible(deps, await deps.ledger.get(id))

function visible({ expiryNow }: Pick<Deps, 'expiryNow'>, upload: Upload | null): Upload {
  if (!upload) throw new HttpError('not_found')
  assertNotExpired(upload, expiryNow())
  return upload
}

const REMEMBERED_OWNERS = 10_000

/**
 * An id keeps its owner for ever and is never given out again, so what was looked up once is
 * remembered; whether the upload is still there is for each use case to see.
 */
function rememberOwners({ ledger }: Deps) {
  const owners = new Map<string, string>()
  const ownerOf = async (id: string): Promise<string> => {
    const known = owners.get(id)
    if (known !== undefined) return known
    const upload = await ledger.get(id)
    if (!upload) throw new HttpError('not_found')
    remember(upload)
    return upload.ownerId
  }
  const remember = ({ id, ownerId }: Upload): void => {
    const oldest = owners.size >= REMEMBERED_OWNERS ? owners.keys().next().value : undefined
    if (oldest !== undefined) owners.delete(oldest)
    owners.set(id, ownerId)
  }
  return {
    remember,
    /**
     * Lets only the owner on.
     * @throws {HttpError} not_found 404 for anything but an id that exists, forbidden 403
     */
    async authorise(id: string, userId: string): Promise<void> {
      if (!isUploadId(id)) throw new HttpError('not_found')
      if ((await ownerOf(id)) !== userId) throw new HttpError('forbidden')
    },
    forget: (id: string) => owners.delete(id),
  }
}

/** @throws {HttpError} not_found 404, gone 410 */
const missingChunks = (deps: Deps) => async (id: string) => {
  const upload = await getUpload(deps)(id)
  const count = cellCount(upload)
  const stored = isFull(upload) ? null : await deps.ledger.storedCells(id)
  // While the length is deferred, nobody knows the last chunk: the gaps before the furthest one are told.
  const known = count ?? (stored?.at(-1) ?? -1) + 1
  return {
    upload_id: id,
    missing_chunk_indexes: stored ? missingCells(known, stored) : [],
    status: publicStatus(upload.status),
  }
}

import { isFull } from '../core/geometry.ts'
import { progressOf, type Progress } from '../core/progress.ts'
import { allCells, spansOf, type CellSpan } from '../core/received.ts'
import { isExpired, type Upload } from '../core/upload.ts'
import type { Deps } from './deps.ts'
import { sharedPoll, type SharedPoll } from './shared-poll.ts'

/** Often enough to look alive, rare enough for a database that has other things to do. */
const LOOK_MS = 1_000
/** The uploads of a user that are watched: their newest. */
export const WATCHED_UPLOADS = 50

export interface Watching {
  /** one upload, by its id */
  upload: SharedPoll<Progress>
  /** the newest uploads of a user, newest first; what has not changed is the same object as before */
  uploadsOf: SharedPoll<readonly Progress[]>
}

/**
 * Uploads as they fill. The ledger is asked, so it does not matter which process takes the bytes; and
 * while nobody watches, nothing is asked.
 */
export function watchUploads(deps: Pick<Deps, 'ledger' | 'expiryNow'>, lookMs = LOOK_MS): Watching {
  const { ledger, expiryNow } = deps
  const look = async (upload: Upload, before: Progress | null): Promise<Progress> =>
    progressOf(before, upload, await spansNow(upload, before), performance.now())

  const spansNow = async (upload: Upload, before: Progress | null): Promise<readonly CellSpan[]> => {
    const { size, chunkSize } = upload
    if (size !== null && isFull(upload)) return allCells({ size, chunkSize })
    const unchanged =
      before?.upload.updatedAt.getTime() === upload.updatedAt.getTime() &&
      before.upload.storedCells === upload.storedCells &&
      before.upload.offset === upload.offset
    if (unchanged) return before.spans
    return upload.storedCells === 0 ? [] : spansOf(await ledger.storedCells(upload.id))
  }

  const upload = sharedPoll<Progress>(async (id, before) => {
    const found = await ledger.get(id)
    return found === null || isExpired(found, expiryNow()) ? null : look(found, before)
  }, lookMs)

  const uploadsOf = sharedPoll<readonly Progress[]>(async (ownerId, before) => {
    const { uploads } = await ledger.list({ ownerId, limit: WATCHED_UPLOADS })
    const known = new Map(before?.map((progress) => [progress.upload.id, progress]))
    const now: Progress[] = []
    for (const found of uploads) now.push(await look(found, known.get(found.id) ?? null))
    const isSame = now.length === before?.length && now.every((progress, at) => progress === before[at])
    return isSame ? before : now
  }, lookMs)

  return { upload, uploadsOf }
}

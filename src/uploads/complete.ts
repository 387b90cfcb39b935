import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { HttpError, unavailable } from '../core/errors.ts'
import { cellCount } from '../core/geometry.ts'
import type { Once } from '../core/ports/ledger.ts'
import { assertNotExpired, isFinal, isOpen, isPartial, type Upload } from '../core/upload.ts'
import { joinParts } from './concatenate.ts'
import { briefly, fencesOf, isLocked, type Deps, type Finish, type Settle } from './deps.ts'
import { reportLoss } from './loss.ts'
import { look, noteDone } from './once.ts'

/** A chunk may be freed and sent again while we look; nobody does that for long. */
const LOOKS = 5

/**
 * Completes an upload whose cells are all whole; a completed one stays so. What was completed under a key
 * is so under it for good, whatever became of the upload since.
 * @throws {HttpError} conflict 409: chunks or the length are missing, the checksum is another, it is FAILED,
 * or the key stands for another request; gone 410; unavailable 503 while it is being completed elsewhere
 */
export const completeUpload =
  (deps: Deps, finish: Finish) =>
  async (id: string, once: Once | null = null): Promise<void> => {
    const { upload, done } = await look(deps, id, once)
    if (done) return
    await complete(deps, finish, id, upload)
    await noteDone(deps, once)
  }

async function complete(deps: Deps, finish: Finish, id: string, found: Upload | null): Promise<Upload> {
  for (let looks = 0; looks < LOOKS; looks++) {
    const upload = looks === 0 ? found : await deps.ledger.get(id)
    if (!upload) throw new HttpError('not_found')
    if (upload.status === 'COMPLETED') return upload
    if (upload.status === 'FINALIZING') return finish(id)
    assertCompletable(upload, deps.expiryNow())
    if (await deps.ledger.transition(id, 'FINALIZING', deps.now())) return finish(id)
  }
  throw unavailable('The upload changes all the time; try again.')
}

function assertCompletable(upload: Upload, now: Date): void {
  assertNotExpired(upload, now)
  if (isPartial(upload))
    throw new HttpError('conflict', { detail: 'A partial upload completes as a part of its final upload.' })
  if (!isOpen(upload.status)) throw new HttpError('conflict', { detail: 'The upload has failed for good.' })
  const count = cellCount(upload)
  if (count === null)
    throw new HttpError('conflict', { detail: 'The length of the upload has not been declared.' })
  if (upload.storedCells < count)
    throw new HttpError('conflict', { detail: `Chunks are missing: ${count - upload.storedCells}.` })
}

/**
 * Takes uploads from FINALIZING to COMPLETED. May be called again at any time, by anybody: what runs in
 * this process is shared, and the last step is a compare-and-set, so that an upload finishes once.
 */
export function finisher(deps: Deps): Finish {
  const running = new Map<string, Promise<Upload>>()
  return (id) => {
    const other = running.get(id)
    if (other) return other
    const run = finish(deps, id).finally(() => running.delete(id))
    running.set(id, run)
    return run
  }
}

async function finish(deps: Deps, id: string, wait = true): Promise<Upload> {
  const { ledger, store } = deps
  const upload = await ledger.get(id)
  if (upload?.status === 'FINALIZING') await finishAlone(deps, id, wait)
  const finished = await ledger.get(id)
  if (!finished) {
    // Deleted meanwhile, perhaps before its object was there to be removed.
    if (upload) await store.remove({ ...upload, status: 'ABORTED' })
    throw new HttpError('not_found')
  }
  if (finished.status !== 'COMPLETED') throw unavailable('The upload is being completed; try again.')
  return finished
}

/** One process at a time works on an upload; who comes second finds it done. */
async function finishAlone(deps: Deps, id: string, wait: boolean): Promise<void> {
  const { ledger, locker, meter } = deps
  const hold = await locker.acquire(id, 'finish', briefly, wait)
  const settle: Settle = (to, reason) => ledger.transition(id, to, deps.now(), reason, fencesOf([hold]))
  try {
    const upload = await ledger.get(id)
    if (upload?.status !== 'FINALIZING') return
    await finalize(deps, upload, settle)
    if (await settle('COMPLETED')) meter.uploadCompleted(upload.dialect)
  } catch (error) {
    throw await reportLoss(deps, id, error, [hold])
  } finally {
    await hold.release()
  }
}

async function finalize(deps: Deps, upload: Upload, settle: Settle): Promise<void> {
  const { store } = deps
  if (isFinal(upload)) return joinParts(deps, upload, settle)
  if (store.finalize) {
    // Only then the bytes can be read, and chunks of them can't be sent again.
    await store.finalize(upload)
    if (await checksumHolds(deps, upload)) return
    if (await settle('FAILED', 'checksum mismatch')) await store.remove({ ...upload, status: 'FAILED' })
  } else {
    if (await checksumHolds(deps, upload)) return
    await settle('IN_PROGRESS')
  }
  throw new HttpError('conflict', { detail: 'The SHA-256 of the file is not the announced one.' })
}

async function checksumHolds({ store }: Deps, upload: Upload): Promise<boolean> {
  if (upload.checksumSha256 === null) return true
  const hash = createHash('sha256')
  for await (const bytes of store.read(upload, { start: 0, end: upload.size ?? 0 })) hash.update(bytes)
  return hash.digest('hex') === upload.checksumSha256
}

/** How long a request waits for an upload that is being completed. */
const SETTLE_PATIENCE_MS = 5_000

/**
 * The upload as it is, once it is not being completed any more, or after a while. Whoever asks takes the
 * work up, so that what a dead process left is not waited for until a chore finds it.
 * @returns null when there is none
 */
export async function settled({ ledger }: Deps, finish: Finish, id: string): Promise<Upload | null> {
  const upload = await ledger.get(id)
  if (upload?.status !== 'FINALIZING') return upload
  const patience = new AbortController()
  // Why it could not be completed is told by the chore that tries again.
  const finishing = finish(id).then(
    () => {},
    () => {},
  )
  await Promise.race([
    finishing,
    sleep(SETTLE_PATIENCE_MS, undefined, { signal: patience.signal }).catch(() => {}),
  ])
  patience.abort()
  return ledger.get(id)
}

/** Takes up what a crash left in the middle of completing, but for what another one is at. */
export const resumeFinalizing =
  (deps: Deps) =>
  async (
    onError: (error: unknown, id: string) => void,
    signal = new AbortController().signal,
  ): Promise<void> => {
    for (const { id } of await deps.ledger.inStatus('FINALIZING', 100)) {
      if (signal.aborted) return
      try {
        await finish(deps, id, false)
      } catch (error) {
        if (!isLocked(error)) onError(error, id)
      }
    }
  }

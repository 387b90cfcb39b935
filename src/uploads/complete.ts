import { createHash } from 'node:crypto'
import { HttpError, unavailable } from '../core/errors.ts'
import { cellCount } from '../core/geometry.ts'
import { assertNotExpired, isFinal, isOpen, isPartial, type Upload } from '../core/upload.ts'
import { joinParts } from './concatenate.ts'
import type { Deps, Finish } from './deps.ts'

/**
 * Completes an upload whose cells are all whole; a completed one stays so.
 * @throws {HttpError} conflict 409: chunks or the length are missing, the checksum is another, or it
 * is FAILED; gone 410; unavailable 503 while it is being completed elsewhere
 */
export const completeUpload =
  (deps: Deps, finish: Finish) =>
  async (id: string): Promise<Upload> => {
    const upload = await deps.ledger.get(id)
    if (!upload) throw new HttpError('not_found')
    assertNotExpired(upload, deps.now())
    if (upload.status === 'COMPLETED') return upload
    if (isPartial(upload))
      throw new HttpError('conflict', { detail: 'A partial upload completes as a part of its final upload.' })
    if (upload.status === 'FAILED')
      throw new HttpError('conflict', { detail: 'The upload has failed for good.' })
    if (isOpen(upload.status)) {
      const missing = missingCount(upload)
      if (missing === null)
        throw new HttpError('conflict', { detail: 'The length of the upload has not been declared.' })
      if (missing > 0) throw new HttpError('conflict', { detail: `Chunks are missing: ${missing}.` })
      await deps.ledger.transition(id, 'FINALIZING', deps.now())
    }
    return finish(upload)
  }

const missingCount = (upload: Upload): number | null => {
  const count = cellCount(upload)
  return count === null ? null : count - upload.storedCells
}

/**
 * Takes uploads from FINALIZING to COMPLETED. May be called again at any time, by anybody: what runs in
 * this process is shared, and the last step is a compare-and-set, so that an upload finishes once.
 */
export function finisher(deps: Deps): Finish {
  const running = new Map<string, Promise<Upload>>()
  return (upload) => {
    const other = running.get(upload.id)
    if (other) return other
    const run = finish(deps, upload).finally(() => running.delete(upload.id))
    running.set(upload.id, run)
    return run
  }
}

async function finish(deps: Deps, upload: Upload): Promise<Upload> {
  const { ledger, store, meter } = deps
  const { id } = upload
  if (isFinal(upload)) await joinParts(deps, upload)
  else if (!(await checksumHolds(deps, upload))) {
    await ledger.transition(id, 'IN_PROGRESS', deps.now())
    throw new HttpError('conflict', { detail: 'The SHA-256 of the file is not the announced one.' })
  } else await store.finalize?.(upload)
  if (await ledger.transition(id, 'COMPLETED', deps.now())) meter.uploadCompleted(upload.dialect)
  const finished = await ledger.get(id)
  if (!finished) throw new HttpError('not_found')
  if (finished.status !== 'COMPLETED') throw unavailable('The upload is being completed; try again.')
  return finished
}

async function checksumHolds({ store }: Deps, upload: Upload): Promise<boolean> {
  if (upload.checksumSha256 === null) return true
  const hash = createHash('sha256')
  for await (const bytes of store.read(upload, { start: 0, end: upload.size ?? 0 })) hash.update(bytes)
  return hash.digest('hex') === upload.checksumSha256
}

/** Takes up what a crash left in the middle of completing. @returns how many it finished */
export const resumeFinalizing =
  (deps: Deps, finish: Finish) =>
  async (onError: (error: unknown, upload: Upload) => void): Promise<number> => {
    let finished = 0
    for (const upload of await deps.ledger.inStatus('FINALIZING', 100)) {
      try {
        await finish(upload)
        finished += 1
      } catch (error) {
        onError(error, upload)
      }
    }
    return finished
  }

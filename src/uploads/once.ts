import { HttpError } from '../core/errors.ts'
import type { Done, Once } from '../core/ports/ledger.ts'
import type { Upload } from '../core/upload.ts'
import type { Deps } from './deps.ts'

export interface Found {
  upload: Upload | null
  /** whether this very request has succeeded before */
  done: Done | null
}

/**
 * The upload of a request, and whether the request was done before under its key.
 * @param once null for a request without a key
 * @throws {HttpError} conflict 409: the key stands for another request
 */
export async function look({ ledger, now }: Deps, id: string | null, once: Once | null): Promise<Found> {
  if (!once) return { upload: id === null ? null : await ledger.get(id), done: null }
  const found = await ledger.look(id, once, now())
  assertSame(found.done, once)
  return found
}

/**
 * Notes that a request has succeeded, when it brought a key. Its twin may have noted that already.
 * @throws {HttpError} conflict 409: another request took the key meanwhile
 */
export async function noteDone(deps: Deps, once: Once | null): Promise<void> {
  if (!once || (await deps.ledger.note(doneOf(deps, once, null), deps.now()))) return
  await look(deps, null, once)
}

export const doneOf = ({ limits, now }: Deps, once: Once, answer: string | null): Done => ({
  ...once,
  answer,
  expiresAt: new Date(now().getTime() + limits.idempotencyTtlMs),
})

export function assertSame(done: Done | null, { fingerprint }: Once): void {
  if (done && done.fingerprint !== fingerprint)
    throw new HttpError('conflict', { detail: 'This Idempotency-Key was used for another request.' })
}

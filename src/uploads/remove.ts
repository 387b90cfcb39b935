import { HttpError } from '../core/errors.ts'
import type { Upload } from '../core/upload.ts'
import type { Deps } from './deps.ts'

/**
 * Deletes an upload in any state: hidden first, then writers give way, then bytes, then rows. A crash
 * in between leaves a hidden row that the reaper takes up.
 * @throws {HttpError} not_found 404
 */
export const removeUpload =
  (deps: Deps) =>
  async (id: string): Promise<void> => {
    const upload = await deps.ledger.markDeleted(id, deps.now())
    if (!upload) throw new HttpError('not_found')
    await erase(deps, upload)
  }

/** Removes bytes and rows of an upload that nobody can see any more. Idempotent. */
export async function erase({ locker, store, ledger }: Deps, upload: Upload): Promise<void> {
  await locker.drain(upload.id)
  await store.remove(upload)
  await ledger.purge(upload.id)
}

import { HttpError } from '../core/errors.ts'
import type { Deps } from './deps.ts'

/**
 * Deletes an upload in any state: hidden first, then writers give way, then bytes, then rows. A crash
 * in between leaves a hidden row that the reaper takes up.
 * @throws {HttpError} not_found 404
 */
export const removeUpload =
  (deps: Deps) =>
  async (id: string): Promise<void> => {
    if (!(await deps.ledger.markDeleted(id, deps.now()))) throw new HttpError('not_found')
    await erase(deps, id)
  }

/** Removes bytes and rows of an upload that nobody can see any more. Idempotent. */
export async function erase({ locker, store, ledger }: Deps, id: string): Promise<void> {
  await locker.drain(id)
  await store.remove(id)
  await ledger.purge(id)
}

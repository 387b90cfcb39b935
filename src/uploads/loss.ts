import { HttpError } from '../core/errors.ts'
import type { Deps } from './deps.ts'

/**
 * Fails an upload for good whose store no longer has what was committed of it.
 * @returns the failure, to be thrown
 */
export async function reportLoss(
  { ledger, now }: Pick<Deps, 'ledger' | 'now'>,
  id: string,
  failure: unknown,
): Promise<unknown> {
  if (failure instanceof HttpError && failure.code === 'storage_lost')
    await ledger.transition(id, 'FAILED', now(), failure.message)
  return failure
}

import { HttpError } from '../core/errors.ts'
import type { Hold } from '../core/ports/locker.ts'
import { fencesOf, type Deps } from './deps.ts'

/**
 * Fails an upload for good whose store no longer has what was committed of it.
 * @param holds under which that was found out: to one who lost them it may only look so
 * @returns the failure, to be thrown
 */
export async function reportLoss(
  { ledger, now }: Pick<Deps, 'ledger' | 'now'>,
  id: string,
  failure: unknown,
  holds: readonly Hold[],
): Promise<unknown> {
  if (!(failure instanceof HttpError) || failure.code !== 'storage_lost') return failure
  // Who deletes an upload takes its bytes away, also under a writer that stood still for too long.
  if (!(await ledger.get(id))) return new HttpError('not_found', { cause: failure })
  await ledger.transition(id, 'FAILED', now(), failure.message, fencesOf(holds))
  return failure
}

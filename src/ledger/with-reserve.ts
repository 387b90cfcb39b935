import { HttpError } from '../core/errors.ts'
import type { UploadLedger } from '../core/ports/ledger.ts'
import type { Reserve } from './reserve.ts'

/**
 * A ledger that deletes and expires uploads when the disk is full, too: else nothing but a person could
 * make room. It closes the reserve.
 */
export function withReserve(ledger: UploadLedger, reserve: Reserve): UploadLedger {
  type Method<A extends unknown[], R> = (...args: A) => Promise<R>

  const onReserve =
    <A extends unknown[], R>(method: Method<A, R>): Method<A, R> =>
    async (...args) => {
      try {
        return await method(...args)
      } catch (error) {
        const full = error instanceof HttpError && error.code === 'insufficient_storage'
        if (!full || !reserve.release()) throw error
        return method(...args)
      }
    }
  /** What takes room for good leaves the reserve to what makes some. */
  const unlessOut =
    <A extends unknown[], R>(method: Method<A, R>): Method<A, R> =>
    async (...args) => {
      if (reserve.isOut()) throw new HttpError('insufficient_storage')
      return method(...args)
    }
  const purge = onReserve(ledger.purge)
  const toAborted = onReserve(ledger.transition)
  /** The bytes of an upload are gone by now: before they are taken by others. */
  const takeAgain = async () => {
    if (reserve.isOut()) await reserve.take()
  }
  void reserve.take()

  return {
    ...ledger,
    create: unlessOut(ledger.create),
    createOnce: unlessOut(ledger.createOnce),
    createFinal: unlessOut(ledger.createFinal),
    markDeleted: onReserve(ledger.markDeleted),
    expire: onReserve(ledger.expire),
    forgetUsage: onReserve(ledger.forgetUsage),
    async purge(id) {
      await purge(id)
      await takeAgain()
    },
    async transition(id, to, ...rest) {
      if (to !== 'ABORTED') return ledger.transition(id, to, ...rest)
      const changed = await toAborted(id, to, ...rest)
      await takeAgain()
      return changed
    },
    async close() {
      await reserve.close()
      await ledger.close()
    },
  }
}

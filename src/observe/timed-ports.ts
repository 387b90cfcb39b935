import type { Admission, Gate, Wait } from '../core/ports/gate.ts'
import type { ChunkStore, StoreOperation, Taken, Written } from '../core/ports/store.ts'

/** Seconds of one operation of a store, and whether it failed. */
export type Timed = (store: string, operation: StoreOperation, seconds: number, failed: boolean) => void

/** The store, whose operations are timed. Nobody waits a turn longer for that. */
export function timedStore(store: ChunkStore, told: Timed): ChunkStore {
  const { ahead, finalize, presign, name } = store
  function timed<T>(operation: StoreOperation, work: Promise<T>, failed = (_result: T) => false): Promise<T> {
    const startedAt = performance.now()
    const tell = (bad: boolean) => told(name, operation, (performance.now() - startedAt) / 1000, bad)
    work.then(
      (result) => tell(failed(result)),
      () => tell(true),
    )
    return work
  }
  const hasFailed = ({ failure }: Written) => failure !== null
  return {
    ...store,
    writeAt: (write) => timed('write', store.writeAt(write), hasFailed),
    ...(ahead && {
      ahead: {
        ...ahead,
        takeAt(write) {
          const taking = ahead.takeAt(write)
          void timed('write', writtenBy(taking), hasFailed)
          return taking
        },
      },
    }),
    compareAt: (write) => timed('compare', store.compareAt(write), hasFailed),
    ...(finalize && { finalize: (upload) => timed('finalize', finalize(upload)) }),
    concat: (target, parts) => timed('concat', store.concat(target, parts)),
    ...(presign && { presign: (upload, as) => timed('presign', presign(upload, as)) }),
    remove: (upload) => timed('remove', store.remove(upload)),
  }
}

/** A write that goes on behind its taking is over when both are. */
const writtenBy = async (taking: Promise<Taken>): Promise<Written> => (await taking).written

/** The gate, whose waits are timed. A body that is admitted at once did not wait. */
export const timedGate = <G extends Gate>(gate: G, waited: (seconds: number) => void): G => ({
  ...gate,
  admitInTurn(ownerId: string, uploadId: string): Admission | Wait {
    const place = gate.admitInTurn(ownerId, uploadId)
    if (!('admitted' in place)) return place
    const startedAt = performance.now()
    const tell = () => waited((performance.now() - startedAt) / 1000)
    place.admitted.then(tell, tell)
    return place
  },
})

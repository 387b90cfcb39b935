import type { Turn } from '../core/ports/body.ts'
import type { Admission, Gate, Wait } from '../core/ports/gate.ts'
import type { UploadLedger } from '../core/ports/ledger.ts'
import type { Hold, Locker } from '../core/ports/locker.ts'
import type { ChunkStore, Taken, Write, Written, WritesAhead } from '../core/ports/store.ts'
import type { Upload } from '../core/upload.ts'
import type { BeginStep, Step } from './tracing.ts'

/** A lock that was free is no step worth showing. */
const SHOWN_LOCK_MS = 1

/** Ends the step with the work, whatever comes of it. */
async function ending<T>(step: Step, work: () => Promise<T>): Promise<T> {
  try {
    const result = await step.run(work)
    step.end()
    return result
  } catch (error) {
    step.end(error)
    throw error
  }
}

const within = <T>(step: Step | null, work: () => Promise<T>): Promise<T> =>
  step ? ending(step, work) : work()

/** The gate, whose waits are steps of the request that waits. */
export const tracedGate = <G extends Gate>(gate: G, begin: BeginStep): G => ({
  ...gate,
  admitInTurn(ownerId: string, uploadId: string): Admission | Wait {
    const place = gate.admitInTurn(ownerId, uploadId)
    if (!('admitted' in place)) return place
    const step = begin('gate.wait', {})
    return step ? { admitted: within(step, () => place.admitted), giveUp: (why) => place.giveUp(why) } : place
  },
})

/** The locker, whose waits are steps, where there is one. */
export const tracedLocker = (locker: Locker, begin: BeginStep): Locker => ({
  ...locker,
  async acquire(id, place, holder, wait): Promise<Hold> {
    const startedAt = performance.now()
    const tell = (failure?: unknown) => {
      if (failure === undefined && performance.now() - startedAt < SHOWN_LOCK_MS) return
      begin('lock.wait', { place: String(place) }, startedAt)?.end(failure)
    }
    try {
      const hold = await locker.acquire(id, place, holder, wait)
      tell()
      return hold
    } catch (error) {
      tell(error)
      throw error
    }
  },
})

/** The ledger, whose changes are steps. What it is only asked is not worth one. */
export function tracedLedger(ledger: UploadLedger, begin: BeginStep): UploadLedger {
  type Method<A extends unknown[], R> = (...args: A) => Promise<R>
  const traced =
    <A extends unknown[], R>(name: string, method: Method<A, R>): Method<A, R> =>
    (...args) =>
      within(begin(`ledger.${name}`, {}), () => method(...args))
  return {
    ...ledger,
    create: traced('create', ledger.create),
    createOnce: traced('create', ledger.createOnce),
    createFinal: traced('create', ledger.createFinal),
    commit: traced('commit', ledger.commit),
    declareSize: traced('declare_size', ledger.declareSize),
    freeCell: traced('free_cell', ledger.freeCell),
    transition: traced('transition', ledger.transition),
    markDeleted: traced('mark_deleted', ledger.markDeleted),
    purge: traced('purge', ledger.purge),
  }
}

/** The store, whose every use is a step. */
export function tracedStore(store: ChunkStore, begin: BeginStep): ChunkStore {
  const { ahead, finalize, presign } = store
  const step = (name: string, attributes = {}) =>
    begin(`store.${name}`, { 'store.name': store.name, ...attributes })
  return {
    ...store,
    writeAt: (write) => traceWrite(step('write', placeOf(write)), write, store.writeAt),
    ...(ahead && {
      ahead: {
        ...ahead,
        takeAt: (write) => traceTake(step('write', placeOf(write)), write, (traced) => ahead.takeAt(traced)),
      },
    }),
    compareAt: (write) => traceWrite(step('compare', placeOf(write)), write, store.compareAt),
    ...(finalize && { finalize: (upload) => within(step('finalize'), () => finalize(upload)) }),
    concat: (target, parts) =>
      within(step('concat', { parts: parts.length }), () => store.concat(target, parts)),
    read(upload, range) {
      const reading = step('read', { start: range.start, end: range.end })
      return reading ? traceRead(reading, store, upload, range) : store.read(upload, range)
    },
    ...(presign && {
      presign: (upload, as) => within(step('presign'), () => presign(upload, as)),
    }),
    remove: (upload) => within(step('remove'), () => store.remove(upload)),
  }
}

const placeOf = ({ position, length }: Write) => ({ position, length })

/** A write takes as long as its body comes: how much of that went by without a worker is told with it. */
function traceWrite<W extends Written>(
  step: Step | null,
  write: Write,
  work: (write: Write) => Promise<W>,
): Promise<W> {
  if (!step) return work(write)
  let waitedMs = 0
  const turn: Turn = {
    enter() {
      const free = write.turn.enter()
      if (!free) return undefined
      const startedAt = performance.now()
      return free.finally(() => (waitedMs += performance.now() - startedAt))
    },
    leave: () => write.turn.leave(),
  }
  return step.run(async () => {
    try {
      const written = await work({ ...write, turn })
      step.note({ bytes: written.bytes, worker_wait_ms: waitedMs, retries: written.retries ?? 0 })
      step.end(written.failure ?? write.body.cause ?? undefined)
      return written
    } catch (error) {
      step.end(error)
      throw error
    }
  })
}

/** The same, of a write that goes on while the next one's bytes are taken: its step ends with it. */
async function traceTake(step: Step | null, write: Write, take: WritesAhead['takeAt']): Promise<Taken> {
  if (!step) return take(write)
  return new Promise((resolve, reject) => {
    const work = async (traced: Write): Promise<Written> => {
      const taken = await take(traced)
      resolve({ bytes: taken.bytes, written })
      return taken.written
    }
    const written = traceWrite(step, write, work)
    written.catch(reject)
  })
}

/** By hand: a generator would keep whoever gives up a read waiting for its next bytes. */
function traceRead(
  step: Step,
  store: ChunkStore,
  upload: Upload,
  range: { start: number; end: number },
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const chunks = step.run(() => store.read(upload, range))[Symbol.asyncIterator]()
      let bytes = 0
      let over = false
      const end = (failure?: unknown) => {
        if (over) return
        over = true
        step.note({ bytes })
        step.end(failure)
      }
      return {
        async next() {
          try {
            const next = await step.run(() => chunks.next())
            if (next.done) end()
            else bytes += next.value.length
            return next
          } catch (error) {
            end(error)
            throw error
          }
        },
        async return() {
          end()
          await chunks.return?.()
          return { done: true, value: undefined }
        },
      }
    },
  }
}

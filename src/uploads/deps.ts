import type { Body, Turn } from '../core/ports/body.ts'
import type { UploadLedger } from '../core/ports/ledger.ts'
import type { Fence, Hold, Holder, Locker } from '../core/ports/locker.ts'
import type { Meter } from '../core/ports/meter.ts'
import type { OpenHash } from '../core/ports/hash.ts'
import type { ChunkStore, Digest } from '../core/ports/store.ts'
import { HttpError, locked } from '../core/errors.ts'
import type { Status, Upload } from '../core/upload.ts'

/** What the use cases stand on; built by the process, handed in. */
export interface Deps {
  ledger: UploadLedger
  store: ChunkStore
  locker: Locker
  meter: Meter
  openHash: OpenHash
  /** the clock */
  now: () => Date
  /** what expiry is judged by: never ahead of the clock */
  expiryNow: () => Date
  limits: {
    chunkSizeBytes: number
    maxUploadBytes: number
    /** how long an unfinished upload lives after its last byte */
    uploadTtlMs: number
    /** how long an Idempotency-Key stands for its request */
    idempotencyTtlMs: number
    /** parts of one final upload */
    maxConcatParts: number
    /** what no new upload may take of the store's room; 0 takes any */
    minFreeDiskBytes: number
  }
}

/** Takes the upload of an id from FINALIZING to COMPLETED. */
export type Finish = (id: string) => Promise<Upload>

/** Moves an upload on from FINALIZING for the one who works on it; false when that is somebody else by now. */
export type Settle = (to: Status, reason?: string) => Promise<boolean>

/** What a use case needs whose bytes may be an upload's last. */
export interface WriteDeps extends Deps {
  finish: Finish
}

/** The writer of a body holds its places as long as bytes keep coming. */
export const holderOf = (body: Body): Holder => ({
  idle: () => body.idle(),
  yield: () => body.stop(takenOver()),
})

/** Holds a place for the moment of our own work: neither idle nor to be moved. */
export const briefly: Holder = { idle: () => false, yield: () => {} }

/**
 * Turns of a writer that holds a place: none is given once that is lost, so that nothing is written
 * where another process writes by now.
 */
export const turnUnder = (turn: Turn, hold: Hold): Turn =>
  hold.fence === null ? turn : turnUnless(turn, () => (hold.held() ? null : takenOver()))

/** Turns that none is given of any more once there is a reason to refuse them. */
export function turnUnless(turn: Turn, refusal: () => Error | null): Turn {
  const check = (): undefined => {
    const why = refusal()
    if (why === null) return undefined
    turn.leave()
    throw why
  }
  return {
    enter() {
      const free = turn.enter()
      return free ? free.then(check) : check()
    },
    leave: () => turn.leave(),
  }
}

export const fencesOf = (holds: readonly Hold[]): Fence[] =>
  holds.flatMap(({ fence }) => (fence ? [fence] : []))

export const takenOver = (): HttpError => locked('Another request took this upload over.')

export const isLocked = (error: unknown): boolean => error instanceof HttpError && error.code === 'locked'

/** The status that an upload takes with its last byte: where nothing is left to do then, it is complete. */
export const statusWhenFull = ({ store }: Pick<Deps, 'store'>, upload: Upload): 'FINALIZING' | 'COMPLETED' =>
  store.finalize || upload.checksumSha256 !== null ? 'FINALIZING' : 'COMPLETED'

/** Until when an upload lives that gets a byte at `now`. */
export const expiryFrom = (now: Date, { limits }: Pick<Deps, 'limits'>): Date =>
  new Date(now.getTime() + limits.uploadTtlMs)

/** Reads and drops at most `length` bytes, of which `digest` sees each. @returns how many came */
export async function drop(body: Body, length: number, digest: Digest | null): Promise<number> {
  let dropped = 0
  while (dropped < length) {
    const batch = await body.take(length - dropped)
    if (!batch) break
    for (const piece of batch) {
      await digest?.update(piece)
      dropped += piece.length
    }
  }
  return dropped
}

/** @throws the reason for which a body ended early, if it did */
export function assertUnbroken(body: Body): void {
  if (body.cause) throw body.cause
}

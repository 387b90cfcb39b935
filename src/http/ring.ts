import type { Sink } from './fast-lane.ts'

/** Bytes of one half: a read, and a write to the disk, take at most that much. */
const HALF_BYTES = 1024 * 1024

/** Two halves in turn: one is filled while what the other holds is written. */
export interface Ring extends Sink {
  /** The next bytes that have come, at most `maxBytes`; null for none. They are ours until the next `take`. */
  take(maxBytes: number): Uint8Array | null
  /** how many can be taken */
  ready(): number
  /** Whether there is room to read into. */
  hasRoom(): boolean
  /** bytes that have yet to come */
  left(): number
}

/**
 * @param length bytes that will come in all
 * @param onFilled told after every read
 */
export function createRing(buffer: Uint8Array, length: number, onFilled: () => void): Ring {
  let filled = 0
  let lent = 0
  let released = 0

  const room = () => {
    const at = filled % HALF_BYTES
    return Math.min(HALF_BYTES - at, length - filled)
  }
  // The half that comes next still holds what was read into it one round ago.
  const hasRoom = () =>
    filled < length && released >= Math.floor(filled / HALF_BYTES) * HALF_BYTES - HALF_BYTES

  return {
    target() {
      const at = filled % (2 * HALF_BYTES)
      return buffer.subarray(at, at + room())
    },
    filled(bytes) {
      filled += bytes
      onFilled()
      return hasRoom()
    },
    take(maxBytes) {
      released += lent
      lent = Math.min(maxBytes, filled - released, HALF_BYTES - (released % HALF_BYTES))
      const at = released % (2 * HALF_BYTES)
      return lent > 0 ? buffer.subarray(at, at + lent) : null
    },
    ready: () => filled - released - lent,
    hasRoom,
    left: () => length - filled,
  }
}

export interface RingBuffers {
  take(): Uint8Array
  give(buffer: Uint8Array): void
}

/** Keeps what was used for the next one: a fresh buffer costs a page fault for every 4 KiB of it. */
export function createRingBuffers(kept = 32): RingBuffers {
  const free: Uint8Array[] = []
  return {
    take: () => free.pop() ?? Buffer.allocUnsafeSlow(2 * HALF_BYTES),
    give(buffer) {
      if (free.length < kept) free.push(buffer)
    },
  }
}

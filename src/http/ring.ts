import type { Sink } from './fast-lane.ts'

/** Two halves in turn: one is filled while what the other holds is written. */
export interface Ring extends Sink {
  /** The next bytes that have come, at most `maxBytes`. They stay as they are until the next `take`. */
  take(maxBytes: number): Uint8Array[]
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
  const ringBytes = buffer.length
  const halfBytes = ringBytes / 2
  let filled = 0
  let lent = 0
  let released = 0

  const room = () => {
    const at = filled % halfBytes
    return Math.min(halfBytes - at, length - filled)
  }
  // The half that comes next still holds what was read into it one round ago.
  const hasRoom = () => filled < length && released >= Math.floor(filled / halfBytes) * halfBytes - halfBytes

  return {
    target() {
      const at = filled % ringBytes
      return buffer.subarray(at, at + room())
    },
    filled(bytes) {
      filled += bytes
      onFilled()
      return hasRoom()
    },
    take(maxBytes) {
      released += lent
      lent = Math.min(maxBytes, filled - released)
      const at = released % ringBytes
      const first = buffer.subarray(at, Math.min(at + lent, ringBytes))
      const pieces = first.length > 0 ? [first] : []
      if (first.length < lent) pieces.push(buffer.subarray(0, lent - first.length))
      return pieces
    },
    hasRoom,
    left: () => length - filled,
  }
}

export interface RingKind {
  /** that are out at a time */
  most: number
  /** A read, and a write to the disk, take at most that much. */
  halfBytes: number
}

/** A few bodies at a time go in large strides; many take no more memory together. */
const USUAL_KINDS: readonly RingKind[] = [
  { most: 4, halfBytes: 1024 * 1024 },
  { most: 96, halfBytes: 192 * 1024 },
]

export interface RingBuffers {
  /** null when so many are out that further ones would cost too much memory */
  take(): Uint8Array | null
  /** Back for the next one. */
  give(buffer: Uint8Array): void
  /** Not to be used again: somebody may still be reading it. */
  lose(buffer: Uint8Array): void
}

/**
 * Keeps what was used for the next one: a fresh buffer costs a page fault for every 4 KiB of it. Their memory
 * is shared with the thread that hashes.
 * @param kinds in the order in which they are taken
 */
export function createRingBuffers(kinds = USUAL_KINDS): RingBuffers {
  const pools = kinds.map(({ most, halfBytes }) => ({
    bytes: 2 * halfBytes,
    left: most,
    free: [] as Uint8Array[],
  }))
  const poolOf = ({ length }: Uint8Array) => pools.find(({ bytes }) => bytes === length)
  return {
    take() {
      const pool = pools.find(({ left }) => left > 0)
      if (!pool) return null
      pool.left -= 1
      return pool.free.pop() ?? Buffer.from(new SharedArrayBuffer(pool.bytes))
    },
    give(buffer) {
      const pool = poolOf(buffer)
      if (!pool) return
      pool.left += 1
      pool.free.push(buffer)
    },
    lose(buffer) {
      const pool = poolOf(buffer)
      if (pool) pool.left += 1
    },
  }
}

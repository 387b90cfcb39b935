import type { Sink } from './fast-lane.ts'

/** Bytes of one half, unless told otherwise: a read, and a write to the disk, take at most that much. */
const HALF_BYTES = 256 * 1024

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

export interface RingBuffers {
  /** null when so many are out that further ones would cost too much memory */
  take(): Uint8Array | null
  /** Back for the next one. */
  give(buffer: Uint8Array): void
  /** Not to be used again: somebody may still be reading it. */
  lose(): void
}

/**
 * Keeps what was used for the next one: a fresh buffer costs a page fault for every 4 KiB of it.
 * @param most that are out at a time
 */
export function createRingBuffers(most = 96, halfBytes = HALF_BYTES): RingBuffers {
  const free: Uint8Array[] = []
  let out = 0
  return {
    take() {
      if (out >= most) return null
      out += 1
      return free.pop() ?? Buffer.allocUnsafeSlow(2 * halfBytes)
    },
    give(buffer) {
      out -= 1
      free.push(buffer)
    },
    lose() {
      out -= 1
    },
  }
}

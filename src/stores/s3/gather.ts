import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { Payload } from './bucket.ts'
import type { Share } from './part-buffers.ts'

/** The bytes of a cell from its start, on their way into one piece of memory, hashed as they come. */
export interface Gathering {
  /** how much of the cell has come, in memory or not */
  bytes(): number
  /** Adds what comes next; waits for memory. */
  add(pieces: readonly Uint8Array[]): Promise<void>
  /** Gives up the memory once `put` has taken care of what is in it. */
  layAside(put: (bytes: Uint8Array) => Promise<void>): Promise<void>
  /** Brings back all that was laid aside. */
  bringBack(pieces: AsyncIterable<Uint8Array>): Promise<void>
  /** Everything; must be in memory by then. */
  payload(): Payload
}

/** @param mostBytes that may come; memory that nobody has written to costs nothing */
export function startGathering(mostBytes: number, share: Share): Gathering {
  const hash = createHash('sha256')
  let buffer = Buffer.allocUnsafeSlow(mostBytes)
  let start = 0
  let end = 0

  const room = async (bytes: number) => {
    const more = share.grow(bytes)
    if (more) await more
  }

  return {
    bytes: () => end,
    async add(pieces) {
      await room(pieces.reduce((sum, { length }) => sum + length, 0))
      for (const piece of pieces) {
        buffer.set(piece, end)
        hash.update(piece)
        end += piece.length
      }
    },
    async layAside(put) {
      if (start === end) return
      await put(buffer.subarray(start, end))
      buffer = Buffer.allocUnsafeSlow(mostBytes)
      share.shrink(end - start)
      start = end
    },
    async bringBack(pieces) {
      await room(start)
      let at = 0
      for await (const piece of pieces) {
        buffer.set(piece, at)
        at += piece.length
      }
      start = 0
    },
    payload() {
      if (start > 0) throw new Error('bytes are missing in the middle of a chunk')
      return { bytes: buffer.subarray(0, end), sha256: hash.digest('hex') }
    },
  }
}

const HASH_BYTES = 1024 * 1024

/** Of bytes that are there already, with pauses for what else is to be done. */
export async function sha256Of(bytes: Uint8Array): Promise<string> {
  const hash = createHash('sha256')
  for (let at = 0; at < bytes.length; at += HASH_BYTES) {
    hash.update(bytes.subarray(at, at + HASH_BYTES))
    await setImmediate()
  }
  return hash.digest('hex')
}

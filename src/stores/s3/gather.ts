import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { Payload } from './bucket.ts'
import { createCellMemory } from './cell-memory.ts'
import type { Share } from './part-buffers.ts'

/** The bytes of a cell from its start, on their way into memory, hashed as they come. */
export interface Gathering {
  /** how much of the cell has come, in memory or not */
  bytes(): number
  /** Adds what comes next; waits for memory. */
  add(pieces: readonly Uint8Array[]): Promise<void>
  /** Gives up the memory once `put` has taken care of what is in it. */
  layAside(put: (payload: Payload) => Promise<void>): Promise<void>
  /** Brings back all that was laid aside. */
  bringBack(pieces: AsyncIterable<Uint8Array>): Promise<void>
  /** Everything; must be in memory by then. */
  payload(): Payload
}

export function startGathering(share: Share): Gathering {
  const hash = createHash('sha256')
  const memory = createCellMemory(share)
  let start = 0
  let end = 0

  return {
    bytes: () => end,
    async add(pieces) {
      for (const piece of pieces) {
        await memory.write(end, piece)
        hash.update(piece)
        end += piece.length
      }
    },
    async layAside(put) {
      if (start === end) return
      await put(await payloadOf(memory.read(start, end)))
      memory.clear()
      start = end
    },
    async bringBack(pieces) {
      let at = 0
      for await (const piece of pieces) {
        await memory.write(at, piece)
        at += piece.length
      }
      start = 0
    },
    payload: () => ({ pieces: memory.read(0, end), bytes: end, sha256: hash.digest('hex') }),
  }
}

/** Of bytes that are there already, hashed with pauses for what else is to be done. */
export async function payloadOf(pieces: readonly Uint8Array[]): Promise<Payload> {
  const hash = createHash('sha256')
  let bytes = 0
  for (const piece of pieces) {
    hash.update(piece)
    bytes += piece.length
    await setImmediate()
  }
  return { pieces, bytes, sha256: hash.digest('hex') }
}

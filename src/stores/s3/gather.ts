import { createHash, type Hash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { Write } from '../../core/ports.ts'
import type { Payload } from './bucket.ts'
import type { Share } from './part-buffers.ts'

/** The most that is taken of a body at a time, and so what it may bring beyond its share of memory. */
export const TAKE_BYTES = 256 * 1024

/** The bytes of a cell from its start, on their way into one piece of memory, hashed as they come. */
export interface Gathering {
  /** of the cell's start, how much is there */
  bytes(): number
  add(piece: Uint8Array): void
  payload(): Payload
}

/**
 * @param mostBytes that may come; memory that nobody writes to costs nothing
 */
export function startGathering(mostBytes: number): Gathering {
  const buffer = Buffer.allocUnsafeSlow(mostBytes)
  const hash = createHash('sha256')
  let bytes = 0
  return {
    bytes: () => bytes,
    add(piece) {
      buffer.set(piece, bytes)
      hash.update(piece)
      bytes += piece.length
    },
    payload: () => ({ bytes: buffer.subarray(0, bytes), sha256: hash.digest('hex') }),
  }
}

/**
 * Takes the bytes of a write, `batch` being those that have come already. While there is no memory
 * for more, the client is held back.
 */
export async function gatherBody(
  gathering: Gathering,
  share: Share,
  { body, length, digest }: Pick<Write, 'body' | 'length' | 'digest'>,
  batch: Uint8Array[],
): Promise<void> {
  const end = gathering.bytes() + length
  let next: Uint8Array[] | null = batch
  while (next) {
    const more = share.grow(next.reduce((sum, piece) => sum + piece.length, 0))
    if (more) await more
    for (const piece of next) {
      gathering.add(piece)
      digest?.update(piece)
    }
    const left = end - gathering.bytes()
    next = left > 0 ? await body.take(Math.min(TAKE_BYTES, left)) : null
  }
}

const HASH_BYTES = 1024 * 1024

/** Of bytes that are there already, with pauses for what else is to be done. */
export async function sha256Of(bytes: Uint8Array): Promise<string> {
  const hash: Hash = createHash('sha256')
  for (let at = 0; at < bytes.length; at += HASH_BYTES) {
    hash.update(bytes.subarray(at, at + HASH_BYTES))
    await setImmediate()
  }
  return hash.digest('hex')
}

import { createHash, randomFillSync } from 'node:crypto'

/**
 * The bytes of the files. All chunks are windows into one random buffer, so that sending costs neither
 * copying nor computing; the window moves with file and chunk, so that no two neighbours are alike and a
 * chunk in the wrong place is noticed.
 */
export interface Payload {
  /** The bytes from `position` to the end of the chunk it lies in. */
  rest(file: number, position: number): Buffer
  sha256(file: number): string
}

/** distance of two windows, and how many there are: a chunk repeats after this many */
const STEP = 64
const WINDOWS = 4093

export function newPayload(fileSize: number, chunkSize: number): Payload {
  const longest = Math.min(chunkSize, fileSize)
  const pool = randomFillSync(Buffer.allocUnsafeSlow(longest + STEP * WINDOWS))

  const rest = (file: number, position: number): Buffer => {
    const index = Math.floor(position / chunkSize)
    const window = ((file * 31 + index) % WINDOWS) * STEP
    const start = index * chunkSize
    const end = Math.min(start + chunkSize, fileSize)
    return pool.subarray(window + position - start, window + end - start)
  }

  const sha256 = (file: number): string => {
    const hash = createHash('sha256')
    for (let position = 0; position < fileSize; position += chunkSize) hash.update(rest(file, position))
    return hash.digest('hex')
  }

  return { rest, sha256 }
}

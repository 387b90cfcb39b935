import type { ByteRange } from '../core/range.ts'
import { openForReading } from './disk.ts'

/** Measured: 256 KiB cost half as much CPU again. Reading one ahead gained nothing: the kernel does. */
const READ_BYTES = 1024 * 1024
/** What all readers together hold at about this much, so that a thousand cost no more than a few. */
const SHARED_BYTES = 32 * 1024 * 1024
const LEAST_READ_BYTES = 64 * 1024

/** What one of so many readers reads at a time. */
export const readBytesOf = (readers: number): number =>
  Math.max(LEAST_READ_BYTES, Math.min(READ_BYTES, Math.floor(SHARED_BYTES / readers)))

export interface FileReader {
  /**
   * The bytes of a file from `start` up to but not including `end`, in fresh buffers. The handle is
   * open from the first `next()` until the last byte, an error or `return()`.
   * @throws when the file ends before the range does
   */
  read(path: string, range: ByteRange): AsyncGenerator<Uint8Array, void, undefined>
}

export function createFileReader(): FileReader {
  let readers = 0
  return {
    async *read(path, { start, end }) {
      if (start >= end) return
      const file = await openForReading(path)
      readers += 1
      try {
        for (let position = start; position < end;) {
          const buffer = Buffer.allocUnsafeSlow(Math.min(readBytesOf(readers), end - position))
          const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
          if (bytesRead === 0)
            throw new Error(`${path} ends at ${position}, ${end - position} bytes before ${end}`)
          position += bytesRead
          yield buffer.subarray(0, bytesRead)
        }
      } finally {
        readers -= 1
        await file.close()
      }
    },
  }
}

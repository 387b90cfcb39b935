import { read as readInto } from 'node:fs'
import { promisify } from 'node:util'
import type { ByteRange } from '../core/range.ts'
import { openForReading } from './disk.ts'
import { createOpenFiles, type OpenFile } from './open-files.ts'

/** A FileHandle's own takes more time for its promises than for a small read. */
const readAt = promisify(readInto)

/** Reading one ahead gained nothing: the kernel does. */
const READ_BYTES = 512 * 1024
/** What all readers together hold at about this much, so that a thousand cost no more than a few. */
const SHARED_BYTES = 16 * 1024 * 1024
const LEAST_READ_BYTES = 64 * 1024
/** of buffers that nobody uses for the moment */
const KEPT_BYTES = SHARED_BYTES

/** What one of so many readers reads at a time: a power of two, so that buffers fit the next reader. */
export const readBytesOf = (readers: number): number =>
  Math.max(LEAST_READ_BYTES, Math.min(READ_BYTES, 2 ** Math.floor(Math.log2(SHARED_BYTES / readers))))

export interface FileReader {
  /**
   * The bytes of a file from `start` up to but not including `end`. What one `next()` gives stays as it is
   * until the following one, or `return()`. The handle is open from the first `next()` until then, and may be
   * for a moment longer where the file is `lasting`: neither written nor replaced any more.
   * @throws when the file ends before the range does
   */
  read(path: string, range: ByteRange, lasting?: boolean): AsyncGenerator<Uint8Array, void, undefined>
  /** A lasting file is removed: it is not held open for the next reader. */
  forget(path: string): void
}

export function createFileReader(): FileReader {
  const buffers = createBuffers()
  const files = createOpenFiles()
  let readers = 0
  return {
    forget: files.forget,
    async *read(path, { start, end }, lasting = false) {
      if (start >= end) return
      const file = lasting ? await files.share(path) : await openAlone(path)
      readers += 1
      let buffer: Buffer | null = null
      try {
        for (let position = start; position < end;) {
          const bytes = Math.min(readBytesOf(readers), end - position)
          if (buffer) buffers.give(buffer)
          // Given once, though none were to be had: else two readers would come to share it.
          buffer = null
          buffer = buffers.take(bytes)
          const { bytesRead } = await readAt(file.fd, buffer, 0, bytes, position)
          if (bytesRead === 0)
            throw new Error(`${path} ends at ${position}, ${end - position} bytes before ${end}`)
          position += bytesRead
          yield buffer.subarray(0, bytesRead)
        }
      } finally {
        readers -= 1
        if (buffer) buffers.give(buffer)
        await file.release()
      }
    },
  }
}

async function openAlone(path: string): Promise<OpenFile> {
  const handle = await openForReading(path)
  return { fd: handle.fd, release: () => handle.close() }
}

/** Used again and again: a fresh buffer costs a page fault for every 4 KiB of it, and waits long for its collection. */
function createBuffers() {
  const free = new Map<number, Buffer[]>()
  let keptBytes = 0
  return {
    /** of `bytes` at least */
    take(bytes: number): Buffer {
      const size = Math.max(LEAST_READ_BYTES, 2 ** Math.ceil(Math.log2(bytes)))
      const kept = free.get(size)?.pop()
      if (!kept) return Buffer.allocUnsafeSlow(size)
      keptBytes -= size
      return kept
    },
    give(buffer: Buffer): void {
      if (keptBytes + buffer.length > KEPT_BYTES) return
      keptBytes += buffer.length
      const kept = free.get(buffer.length)
      if (kept) kept.push(buffer)
      else free.set(buffer.length, [buffer])
    },
  }
}

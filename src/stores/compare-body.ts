import type { FileHandle } from 'node:fs/promises'
import type { Write, Written } from '../core/ports/store.ts'
import { openForReading, storageError } from './disk.ts'
import { BATCH_BYTES } from './write-body.ts'

/** Reads a body and compares it with what is stored at its place. */
export async function compareBody(
  path: string,
  { position, length, body, digest }: Write,
): Promise<Written & { same: boolean }> {
  let file: FileHandle | undefined
  let bytes = 0
  let same = true
  try {
    file = await openForReading(path)
    let stored = Buffer.alloc(0)
    while (bytes < length) {
      const batch = await body.take(Math.min(BATCH_BYTES, length - bytes))
      if (!batch) break
      for (const piece of batch) {
        const hashed = digest?.update(piece)
        if (stored.length < piece.length) stored = Buffer.allocUnsafe(piece.length)
        const { bytesRead } = await file.read(stored, 0, piece.length, position + bytes)
        same &&= stored.subarray(0, bytesRead).equals(piece)
        bytes += piece.length
        await hashed
      }
    }
    return { bytes, same, failure: null }
  } catch (error) {
    return { bytes, same, failure: storageError(error) }
  } finally {
    await file?.close()
  }
}

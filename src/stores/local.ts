import { mkdirSync } from 'node:fs'
import { access, constants, stat, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { FileStore } from '@tus/file-store'
import type { ChunkStore, Write, Written } from '../core/ports.ts'
import { isFinal } from '../core/upload.ts'
import { codeOf, openForReading, openForWriting, storageError, writeAll } from './disk.ts'
import { readFile } from './file-reader.ts'
import { joinFiles, removeUnfinishedJoins } from './join-files.ts'

/** One system call writes up to this much. */
const BATCH_BYTES = 1024 * 1024

/**
 * Bytes on the local disk: one file an upload, written in place by position, sparse where chunks
 * come out of order; nothing is assembled later. 4,096 folders keep a million files apart.
 *
 * @tus/file-store gives the folder and its removal. Not its writing: that truncates on creation
 * and appends through streams.
 */
export function createLocalStore(root: string): ChunkStore {
  mkdirSync(root, { recursive: true })
  const files = new FileStore({ directory: root, configstore: noConfig })
  const nameOf = (id: string) => path.join(id.slice(0, 3), id)
  const pathOf = (id: string) => path.join(files.directory, nameOf(id))

  return {
    name: 'local',
    writeAt: (write) => writeBody(pathOf(write.upload.id), write),
    compareAt: (write) => compareBody(pathOf(write.upload.id), write),
    async concat(target, parts) {
      const sources = parts.map((part) => ({ path: pathOf(part.id), bytes: part.size ?? 0 }))
      try {
        await joinFiles(sources, pathOf(target.id))
      } catch (error) {
        throw storageError(error)
      }
    },
    read: (upload, range) => readFile(pathOf(upload.id), range),
    async remove(upload) {
      const { id } = upload
      try {
        if (isFinal(upload)) await removeUnfinishedJoins(pathOf(id))
        await files.remove(nameOf(id))
      } catch (error) {
        // The file store tells every failure as "not found"; only a file that is gone is one.
        const trouble = await presence(pathOf(id))
        if (trouble) throw storageError(error instanceof Error ? error : trouble)
      }
    },
    check: () => access(files.directory, constants.R_OK | constants.W_OK | constants.X_OK),
  }
}

const noConfig = { get: async () => undefined, set: async () => {}, delete: async () => {} }

/** null when there is surely no such file; else why that can't be said. */
async function presence(file: string): Promise<Error | null> {
  try {
    await stat(file)
    return new Error(`${file} is still there`)
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? null : (error as Error)
  }
}

async function writeBody(path: string, { position, length, body, turn, digest }: Write): Promise<Written> {
  let file: FileHandle | undefined
  let bytes = 0
  try {
    while (bytes < length) {
      const batch = await body.take(Math.min(BATCH_BYTES, length - bytes))
      if (!batch) break
      const free = turn.enter()
      if (free) await free
      try {
        // The first byte makes the file: an upload without one costs none.
        file ??= await openForWriting(path)
        bytes += await writeAll(file, batch, position + bytes)
      } finally {
        turn.leave()
      }
      if (digest) for (const piece of batch) digest.update(piece)
    }
    return { bytes, failure: null }
  } catch (error) {
    return { bytes, failure: storageError(error) }
  } finally {
    await file?.close()
  }
}

async function compareBody(
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
        digest?.update(piece)
        if (stored.length < piece.length) stored = Buffer.allocUnsafe(piece.length)
        const { bytesRead } = await file.read(stored, 0, piece.length, position + bytes)
        same &&= stored.subarray(0, bytesRead).equals(piece)
        bytes += piece.length
      }
    }
    return { bytes, same, failure: null }
  } catch (error) {
    return { bytes, same, failure: storageError(error) }
  } finally {
    await file?.close()
  }
}

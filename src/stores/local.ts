import { access, constants, stat, statfs } from 'node:fs/promises'
import path from 'node:path'
import { FileStore } from '@tus/file-store'
import type { ChunkStore } from '../core/ports/store.ts'
import { isFinal } from '../core/upload.ts'
import { compareBody } from './compare-body.ts'
import { codeOf, storageError } from './disk.ts'
import { forcing } from './durable.ts'
import { createFileReader } from './file-reader.ts'
import { joinFiles, removeUnfinishedJoins } from './join-files.ts'
import { openRoot, type StorageRoot } from './root.ts'
import { createSmallWrites } from './small-writes.ts'
import { writeBody } from './write-body.ts'

const FREE_BYTES_FOR_MS = 1_000

export interface LocalStoreOptions {
  /** what written bytes outlive before they count: a crash of the process, or a power failure as well */
  durability?: 'process' | 'disk'
}

/**
 * Bytes on the local disk: one file an upload, written in place by position, sparse where chunks
 * come out of order; nothing is assembled later. 4,096 folders keep a million files apart.
 *
 * @tus/file-store gives the folder and its removal. Not its writing: that truncates on creation
 * and appends through streams.
 */
export function createLocalStore(folder: string, { durability }: LocalStoreOptions = {}): ChunkStore {
  const root = openRoot(folder)
  const reader = createFileReader()
  const files = new FileStore({ directory: root.path, configstore: noConfig })
  const force = durability === 'disk' ? forcing(root.path) : null
  const writeSmall = createSmallWrites(root)
  const nameOf = (id: string) => path.join(id.slice(0, 3), id)
  const pathOf = (id: string) => path.join(root.path, nameOf(id))

  return {
    name: 'local',
    writeAt: (write) => writeBody({ path: pathOf(write.upload.id), root, force, writeSmall }, write),
    compareAt: (write) => compareBody(pathOf(write.upload.id), write),
    async concat(target, parts) {
      const sources = parts.map((part) => ({ path: pathOf(part.id), bytes: part.size ?? 0 }))
      try {
        await root.assertPresent()
        await joinFiles(sources, pathOf(target.id), force)
      } catch (error) {
        throw storageError(error)
      }
    },
    async *read({ id, status }, range) {
      try {
        yield* reader.read(pathOf(id), range, status === 'COMPLETED')
      } catch (error) {
        // The disk may be back under another handle only.
        reader.forget(pathOf(id))
        throw await readingFailure(error, root)
      }
    },
    async remove(upload) {
      const { id } = upload
      const file = pathOf(id)
      reader.forget(file)
      try {
        if (isFinal(upload)) await removeUnfinishedJoins(file)
        await files.remove(nameOf(id))
      } catch (error) {
        // The file store tells every failure as "not found"; only a file that is gone is one.
        const trouble = await presence(file)
        if (trouble) throw storageError(error instanceof Error ? error : trouble)
        await root.assertPresent()
      }
      try {
        await force?.name(file)
      } catch (error) {
        // No folder, no name in it.
        if (codeOf(error) !== 'ENOENT') throw storageError(error)
      }
    },
    freeBytes: freeBytesOf(root.path),
    async check() {
      await root.assertPresent()
      await access(root.path, constants.R_OK | constants.W_OK | constants.X_OK)
    },
  }
}

/** Looked up once in a while, so that it costs a new upload nothing. */
function freeBytesOf(folder: string): () => Promise<number> {
  let known = { untilMs: -Infinity, bytes: Promise.resolve(0) }
  const lookUp = async (): Promise<number> => {
    try {
      const { bavail, bsize } = await statfs(folder)
      return bavail * bsize
    } catch (error) {
      known.untilMs = -Infinity
      throw storageError(error)
    }
  }
  return () => {
    const nowMs = performance.now()
    if (nowMs >= known.untilMs) known = { untilMs: nowMs + FREE_BYTES_FOR_MS, bytes: lookUp() }
    return known.bytes
  }
}

const noConfig = { get: async () => undefined, set: async () => {}, delete: async () => {} }

/** What is in its place is not the file, and the file does not come back by itself. */
const LOST = new Set(['ENOENT', 'ELOOP'])

/** Another time may do, unless the file or an end of it is missing on a disk that is there. */
async function readingFailure(error: unknown, root: StorageRoot): Promise<unknown> {
  const code = codeOf(error)
  if (code !== undefined && !LOST.has(code)) return storageError(error)
  try {
    await root.assertPresent()
    return error
  } catch (away) {
    return away
  }
}

/** null when there is surely no such file; else why that can't be said. */
async function presence(file: string): Promise<Error | null> {
  try {
    await stat(file)
    return new Error(`${file} is still there`)
  } catch (error) {
    return codeOf(error) === 'ENOENT' ? null : (error as Error)
  }
}

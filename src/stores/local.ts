import { mkdirSync } from 'node:fs'
import { access, constants, mkdir, open, rm, stat, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { FileStore } from '@tus/file-store'
import { HttpError, unavailable } from '../core/errors.ts'
import type { ChunkStore, Write, Written } from '../core/ports.ts'
import { readFile } from './file-reader.ts'
import { joinFiles, unfinishedJoin } from './join-files.ts'

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
    writeAt: (write) =>
      withFile(
        () => openForWriting(pathOf(write.upload.id)),
        (file) => writeBody(file, write),
      ),
    async compareAt(write) {
      let same = true
      const written = await withFile(
        () => open(pathOf(write.upload.id), 'r'),
        (file) => compareBody(file, write, () => (same = false)),
      )
      return { ...written, same }
    },
    concat: (target, parts) =>
      joinFiles(
        parts.map((part) => ({ path: pathOf(part.id), bytes: part.size ?? 0 })),
        pathOf(target.id),
      ),
    read: (upload, range) =>
      range.end > range.start ? readFile(pathOf(upload.id), range) : noBytes(),
    async remove(id) {
      await rm(unfinishedJoin(pathOf(id)), { force: true })
      try {
        await files.remove(nameOf(id))
      } catch (error) {
        // The file store tells every failure as "not found"; only a file that is gone is one.
        if (await exists(pathOf(id))) throw unavailable('A file could not be removed.', error)
      }
    },
    check: () => access(files.directory, constants.R_OK | constants.W_OK | constants.X_OK),
  }
}

const noConfig = { get: async () => undefined, set: async () => {}, delete: async () => {} }

async function* noBytes(): AsyncGenerator<Uint8Array> {}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}

/** Created by the first byte, never truncated: writers of other cells may be in it already. */
async function openForWriting(file: string): Promise<FileHandle> {
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW
  try {
    return await open(file, flags, 0o640)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    await mkdir(path.dirname(file), { recursive: true })
    return open(file, flags, 0o640)
  }
}

async function withFile(
  opening: () => Promise<FileHandle>,
  work: (file: FileHandle) => Promise<Written>,
): Promise<Written> {
  let file: FileHandle
  try {
    file = await opening()
  } catch (error) {
    return { bytes: 0, failure: storageError(error) }
  }
  try {
    return await work(file)
  } finally {
    await file.close()
  }
}

async function writeBody(
  file: FileHandle,
  { position, length, body, turn, digest }: Write,
): Promise<Written> {
  let bytes = 0
  while (bytes < length) {
    const batch = await body.take(Math.min(BATCH_BYTES, length - bytes))
    if (!batch) break
    const free = turn.enter()
    if (free) await free
    try {
      bytes += await writeAll(file, batch, position + bytes)
    } catch (error) {
      return { bytes, failure: storageError(error) }
    } finally {
      turn.leave()
    }
    if (digest) for (const piece of batch) digest.update(piece)
  }
  return { bytes, failure: null }
}

/** A write may take less than it was given: on with the rest (writev(2)). */
async function writeAll(file: FileHandle, batch: Uint8Array[], position: number): Promise<number> {
  const total = batch.reduce((sum, piece) => sum + piece.length, 0)
  let done = 0
  let rest = batch
  while (done < total) {
    const { bytesWritten } = await file.writev(rest, position + done)
    done += bytesWritten
    if (done < total) rest = dropBytes(rest, bytesWritten)
  }
  return total
}

function dropBytes(pieces: Uint8Array[], count: number): Uint8Array[] {
  let left = count
  return pieces.flatMap((piece) => {
    const dropped = Math.min(left, piece.length)
    left -= dropped
    return dropped === piece.length ? [] : [piece.subarray(dropped)]
  })
}

async function compareBody(
  file: FileHandle,
  { position, length, body, digest }: Write,
  onDifference: () => void,
): Promise<Written> {
  const stored = Buffer.allocUnsafe(Math.min(BATCH_BYTES, length))
  let bytes = 0
  while (bytes < length) {
    const batch = await body.take(Math.min(BATCH_BYTES, length - bytes))
    if (!batch) break
    for (const piece of batch) {
      digest?.update(piece)
      const { bytesRead } = await file.read(stored, 0, piece.length, position + bytes)
      if (!stored.subarray(0, bytesRead).equals(piece)) onDifference()
      bytes += piece.length
    }
  }
  return { bytes, failure: null }
}

const NO_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** What a client may be told of a failed system call: no room, or come back later. */
function storageError(error: unknown): HttpError {
  const { code } = error as NodeJS.ErrnoException
  return code !== undefined && NO_ROOM.has(code)
    ? new HttpError('insufficient_storage', { cause: error })
    : unavailable('The storage does not take bytes for the moment; try again.', error)
}

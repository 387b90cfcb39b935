import type { FileHandle } from 'node:fs/promises'
import { HttpError } from '../core/errors.ts'
import type { Turn } from '../core/ports/body.ts'
import type { Write, Written } from '../core/ports/store.ts'
import type { Upload } from '../core/upload.ts'
import { bytesIn, codeOf, makeFolderFor, openForWriting, openOrMake, storageError, writeAll } from './disk.ts'
import type { Forcing } from './durable.ts'
import type { StorageRoot } from './root.ts'
import type { WriteSmall } from './small-writes.ts'

/** One system call writes up to this much. */
export const BATCH_BYTES = 1024 * 1024

export interface Target {
  path: string
  root: StorageRoot
  /** null where written bytes need not outlive a power failure */
  force: Forcing | null
  /** for the files of small bodies, in their first write */
  writeSmall: WriteSmall
}

/** Writes a body to its place in the file of its upload; the bytes that it tells of are as durable as they shall be. */
export async function writeBody(target: Target, write: Write): Promise<Written> {
  let file: FileHandle | undefined
  // The first byte makes the file: an upload without one costs none.
  const put: Put = async (batch, position) => {
    file ??= await openFile(target, write.upload)
    return writeAll(file, batch, position)
  }
  const written = await takeBody(write, isNew(target, write) ? puttingSmall(target, write, put) : put)
  if (!file) return written
  try {
    if (target.force && written.bytes > 0) await forceBytes(target.force, target.path, file, write)
    // Network file systems tell of a failed write as late as this.
    await file.close()
    return written
  } catch (error) {
    await file.close().catch(() => {})
    // Nobody knows which of the bytes the disk has.
    return { bytes: 0, failure: storageError(error) }
  }
}

/** Writes all of a batch at a position in the file. @returns its bytes */
type Put = (batch: Uint8Array[], position: number) => Promise<number>

/** Whether the file may be made, and its bytes need not outlive a power failure. */
const isNew = ({ force }: Target, { upload }: Write): boolean => force === null && !hasBytes(upload)

/** The same, but a body that is here as a whole is written on the way for small ones. */
const puttingSmall =
  ({ path, writeSmall }: Target, { length }: Write, put: Put): Put =>
  (batch, position) =>
    bytesIn(batch) === length
      ? writeSmall(path, batch, position, () => put(batch, position))
      : put(batch, position)

async function takeBody({ position, length, body, turn, digest }: Write, put: Put): Promise<Written> {
  let bytes = 0
  try {
    while (bytes < length) {
      const batch = await body.take(Math.min(BATCH_BYTES, length - bytes))
      if (!batch) break
      const writing = inTurn(turn, () => put(batch, position + bytes))
      const [written] = await Promise.all([
        writing,
        ...(digest ? batch.map((piece) => digest.update(piece)) : []),
      ])
      bytes += written
    }
    return { bytes, failure: null }
  } catch (error) {
    return { bytes, failure: storageError(error) }
  }
}

const forceBytes = (force: Forcing, path: string, file: FileHandle, { turn, upload }: Write) =>
  inTurn(turn, () => force.file(file, path, hasBytes(upload)))

async function inTurn<T>(turn: Turn, work: () => Promise<T>): Promise<T> {
  const free = turn.enter()
  if (free) await free
  try {
    return await work()
  } finally {
    turn.leave()
  }
}

/** Whether bytes are committed: then there is a file, and its name is as durable as they are. */
const hasBytes = ({ offset, storedCells }: Upload): boolean => offset > 0 || storedCells > 0

async function openFile({ path, root }: Target, upload: Upload): Promise<FileHandle> {
  if (hasBytes(upload)) return openWhole(path, root, upload)
  try {
    return await openOrMake(path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
  await root.assertPresent()
  await makeFolderFor(path)
  return openOrMake(path)
}

/**
 * A file that must have what is committed of it. Where it lost that, as it may when the power fails, it
 * must not be made anew, and complete with a hole.
 * @throws {HttpError} storage_lost 409
 */
async function openWhole(path: string, root: StorageRoot, { offset }: Upload): Promise<FileHandle> {
  let file: FileHandle
  try {
    file = await openForWriting(path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
    await root.assertPresent()
    throw new HttpError('storage_lost', { cause: error })
  }
  const { size } = await file.stat()
  if (size >= offset) return file
  await file.close()
  throw new HttpError('storage_lost', { cause: new Error(`${path} ends at ${size}, before ${offset}`) })
}

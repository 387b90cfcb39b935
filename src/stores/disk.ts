import { constants, mkdir, open, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { HttpError, unavailable } from '../core/errors.ts'

/** A link that somebody planted in the data folder leads nowhere. */
export const openForReading = (file: string): Promise<FileHandle> =>
  open(file, constants.O_RDONLY | constants.O_NOFOLLOW)

/** Never truncates, since writers of other cells may be in the file. @throws ENOENT when there is none */
export const openForWriting = (file: string): Promise<FileHandle> =>
  open(file, constants.O_RDWR | constants.O_NOFOLLOW)

export const MAKE_FLAGS = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW
export const MAKE_MODE = 0o640

/**
 * The same, and makes the file when it is not there. Its folder must be.
 * @throws ENOENT when that is not there
 */
export const openOrMake = (file: string): Promise<FileHandle> => open(file, MAKE_FLAGS, MAKE_MODE)

/** The folder above that must be there: a disk that is not mounted is no place. */
export async function makeFolderFor(file: string): Promise<void> {
  try {
    await mkdir(path.dirname(file))
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  }
}

/** A write may take less than it was given: on with the rest (writev(2)). @returns all of them */
export async function writeAll(file: FileHandle, batch: Uint8Array[], position: number): Promise<number> {
  const total = bytesIn(batch)
  let done = 0
  let rest = batch
  while (done < total) {
    const { bytesWritten } = await file.writev(rest, position + done)
    if (bytesWritten === 0) throw Object.assign(new Error('a write took no byte'), { code: 'EIO' })
    done += bytesWritten
    if (done < total) rest = dropBytes(rest, bytesWritten)
  }
  return total
}

export const bytesIn = (pieces: readonly Uint8Array[]): number =>
  pieces.reduce((sum, piece) => sum + piece.length, 0)

function dropBytes(pieces: Uint8Array[], count: number): Uint8Array[] {
  let left = count
  return pieces.flatMap((piece) => {
    const dropped = Math.min(left, piece.length)
    left -= dropped
    return dropped === piece.length ? [] : [piece.subarray(dropped)]
  })
}

const NO_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** What a client may be told of a failed system call: no room, or come back later. */
export const storageError = (error: unknown): HttpError =>
  error instanceof HttpError
    ? error
    : NO_ROOM.has(codeOf(error) ?? '')
      ? new HttpError('insufficient_storage', { cause: error })
      : unavailable('The storage is not available for the moment; try again.', error)

export const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

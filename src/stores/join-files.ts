import { constants, copyFile, mkdir, open, rename, type FileHandle } from 'node:fs/promises'
import path from 'node:path'

/** Beside the target until it is whole, so that nobody ever sees a part of it. */
export const unfinishedJoin = (target: string): string => `${target}.join`

const BATCH_BYTES = 4 * 1024 * 1024

/**
 * Writes the first `bytes` of each source behind one another into `target`. What was left by a run
 * that broke off is overwritten. All of it runs on the thread pool, a batch at a time, so that requests
 * go on meanwhile; where the file system shares blocks (reflink), the first source costs nothing.
 */
export async function joinFiles(
  sources: readonly { path: string; bytes: number }[],
  target: string,
): Promise<void> {
  const [first, ...rest] = sources.filter(({ bytes }) => bytes > 0)
  if (!first) return
  const unfinished = unfinishedJoin(target)
  await mkdir(path.dirname(target), { recursive: true })
  await copyFile(first.path, unfinished, constants.COPYFILE_FICLONE)
  const file = await open(unfinished, 'r+')
  try {
    let position = first.bytes
    for (const source of rest) {
      await append(source, file, position)
      position += source.bytes
    }
    await file.truncate(position)
  } finally {
    await file.close()
  }
  await rename(unfinished, target)
}

async function append(source: { path: string; bytes: number }, file: FileHandle, at: number): Promise<void> {
  const from = await open(source.path, 'r')
  const buffer = Buffer.allocUnsafe(Math.min(BATCH_BYTES, source.bytes))
  try {
    let done = 0
    while (done < source.bytes) {
      const { bytesRead } = await from.read(buffer, 0, Math.min(buffer.length, source.bytes - done), done)
      if (bytesRead === 0) throw new Error(`${source.path} ends before its ${source.bytes} bytes`)
      await writeAll(file, buffer.subarray(0, bytesRead), at + done)
      done += bytesRead
    }
  } finally {
    await from.close()
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  let written = 0
  while (written < bytes.length)
    written += (await file.write(bytes, written, bytes.length - written, at + written)).bytesWritten
}

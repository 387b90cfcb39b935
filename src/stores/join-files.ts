import { constants, copyFile, open, rename, type FileHandle } from 'node:fs/promises'
import { makeFolderFor, openForReading, writeAll } from './disk.ts'

/** Beside the target until it is whole, so that nobody ever sees a part of it. */
export const unfinishedJoin = (target: string): string => `${target}.join`

const BATCH_BYTES = 4 * 1024 * 1024

interface Source {
  path: string
  bytes: number
}

/**
 * Writes the first `bytes` of each source behind one another into `target`. What was left by a run
 * that broke off is overwritten. All of it runs on the thread pool, a batch at a time, so that requests
 * go on meanwhile; where the file system shares blocks (reflink), the first source costs nothing.
 */
export async function joinFiles(sources: readonly Source[], target: string): Promise<void> {
  const [first, ...rest] = sources.filter(({ bytes }) => bytes > 0)
  if (!first) return
  const unfinished = unfinishedJoin(target)
  await makeFolderFor(target)
  await copyFile(first.path, unfinished, constants.COPYFILE_FICLONE)
  const file = await open(unfinished, 'r+')
  try {
    let position = first.bytes
    if ((await file.stat()).size < position) throw endsEarly(first)
    for (const source of rest) {
      await append(source, file, position)
      position += source.bytes
    }
    // The first source may have been longer than what of it counts.
    await file.truncate(position)
  } finally {
    await file.close()
  }
  await rename(unfinished, target)
}

async function append(source: Source, file: FileHandle, at: number): Promise<void> {
  const from = await openForReading(source.path)
  try {
    const buffer = Buffer.allocUnsafe(Math.min(BATCH_BYTES, source.bytes))
    let done = 0
    while (done < source.bytes) {
      const { bytesRead } = await from.read(buffer, 0, Math.min(buffer.length, source.bytes - done), done)
      if (bytesRead === 0) throw endsEarly(source)
      await writeAll(file, [buffer.subarray(0, bytesRead)], at + done)
      done += bytesRead
    }
  } finally {
    await from.close()
  }
}

const endsEarly = ({ path, bytes }: Source) => new Error(`${path} ends before its ${bytes} bytes`)

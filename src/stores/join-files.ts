import { randomUUID } from 'node:crypto'
import {
  constants,
  copyFile,
  open,
  readdir,
  rename,
  rm,
  stat,
  statfs,
  type FileHandle,
} from 'node:fs/promises'
import path from 'node:path'
import { codeOf, makeFolderFor, openForReading, writeAll } from './disk.ts'
import type { Forcing } from './durable.ts'

/**
 * Beside the target until it is whole, so that nobody ever sees a part of it. Each run has a file of its
 * own: one that was stopped and goes on may not write into, or put in place, what another one has begun.
 */
const newUnfinishedJoin = (target: string): string => `${target}.${randomUUID()}${UNFINISHED}`
const UNFINISHED = '.join'

/** Removes what runs have left that were killed. One that is not dead fails when it comes to its end. */
export async function removeUnfinishedJoins(target: string): Promise<void> {
  const folder = path.dirname(target)
  const names = await readdir(folder).catch(unlessMissing)
  const left = names.filter(
    (name) => name.startsWith(`${path.basename(target)}.`) && name.endsWith(UNFINISHED),
  )
  await Promise.all(left.map((name) => rm(path.join(folder, name), { force: true })))
}

function unlessMissing(error: unknown): string[] {
  if (codeOf(error) === 'ENOENT') return []
  throw error
}

const BATCH_BYTES = 1024 * 1024

interface Source {
  path: string
  bytes: number
}

/**
 * Writes the first `bytes` of each source behind one another into `target`. What was left by a run
 * that was killed goes. One batch at a time is on the thread pool, so that requests go on
 * meanwhile; where the file system shares blocks (reflink), the first source costs nothing.
 * @throws ENOSPC before anything is written when there is no room for all of it
 */
export async function joinFiles(
  sources: readonly Source[],
  target: string,
  force: Forcing | null,
): Promise<void> {
  const [first, ...rest] = sources.filter(({ bytes }) => bytes > 0)
  if (!first) return
  await removeUnfinishedJoins(target)
  const unfinished = newUnfinishedJoin(target)
  await makeFolderFor(target)
  try {
    const cloned = await clone(first, unfinished)
    await writeBehind(cloned ? rest : [first, ...rest], unfinished, cloned ? first.bytes : 0, force)
    await rename(unfinished, target)
    await force?.name(target)
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
}

/** @returns false where the file system can't share blocks. A copy of the whole would block a thread. */
async function clone(source: Source, target: string): Promise<boolean> {
  try {
    await copyFile(source.path, target, constants.COPYFILE_FICLONE_FORCE)
  } catch {
    return false // whatever is wrong with the source, reading it will tell
  }
  if ((await stat(target)).size < source.bytes) throw endsEarly(source)
  return true
}

async function writeBehind(
  sources: readonly Source[],
  target: string,
  start: number,
  force: Forcing | null,
): Promise<void> {
  const total = sources.reduce((sum, { bytes }) => sum + bytes, 0)
  const file = await open(target, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o640)
  try {
    await assertRoom(target, total)
    let position = start
    for (const source of sources) {
      await append(source, file, position)
      position += source.bytes
    }
    // A clone may have been longer than what of it counts.
    await file.truncate(position)
    // The name must not come to the disk before the bytes.
    await force?.file(file, target, true)
  } finally {
    await file.close()
  }
}

async function assertRoom(file: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(path.dirname(file))
  if (bavail * bsize < bytes)
    throw Object.assign(new Error('no room for a concatenation'), { code: 'ENOSPC' })
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

const endsEarly = ({ path: file, bytes }: Source) => new Error(`${file} ends before its ${bytes} bytes`)

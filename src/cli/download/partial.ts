import { lstat, open, readFile, rename, rm, type FileHandle } from 'node:fs/promises'
import { Failure } from '../failure.ts'
import { writeWhole } from '../upload/state.ts'

/** A file on its way down: its bytes, and which of its segments are there. */
export interface Partial {
  /** segments that a run before has got, by index */
  done: ReadonlySet<number>
  handle: FileHandle
  /** Forces what came of a segment to the disk, and notes that it is there. */
  finish(segment: number): Promise<void>
  /** Throws away what is there, for it is of another file. */
  restart(version: string): Promise<void>
  /** Gives it its name, which it has only when it is whole. */
  keep(): Promise<void>
  close(): Promise<void>
}

interface Notes {
  /** what the bytes are of: id, size and entity tag */
  version: string
  segments: number[]
}

/**
 * The bytes are beside the file that they will be, so that giving them its name is one step.
 * @throws {Failure} where something lies there that is none of ours
 */
export async function openPartial(file: string, version: string): Promise<Partial> {
  const bytes = `${file}.part`
  const notesFile = `${file}.part.json`
  const notes = await readNotes(notesFile)
  let known = version
  const done = new Set(notes?.version === version ? notes.segments : [])
  // Notes are written one after the other, each with all that is known by then.
  let writing = Promise.resolve()
  const write = () => {
    writing = writing.then(() =>
      writeWhole(notesFile, JSON.stringify({ version: known, segments: [...done] } satisfies Notes)),
    )
    return writing
  }
  // They are there before the bytes, so that bytes without any are not ours: other programs use this ending, too.
  if (notes === null && (await isThere(bytes)))
    throw new Failure(`${bytes} is there already, and is no download of this program: move it away.`)
  if (notes === null) await write()
  const handle = await openBytes(bytes, done)
  // What is left of another file may be longer than this one.
  if (done.size === 0) await handle.truncate(0)
  return {
    done,
    handle,
    async finish(segment) {
      await handle.datasync()
      done.add(segment)
      await write()
    },
    async restart(next) {
      done.clear()
      known = next
      await handle.truncate(0)
      await write()
    },
    async keep() {
      await handle.sync()
      await rename(bytes, file)
      await rm(notesFile, { force: true })
    },
    close: () => handle.close(),
  }
}

async function openBytes(file: string, done: Set<number>): Promise<FileHandle> {
  try {
    return await open(file, 'r+')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    done.clear()
    return open(file, 'w+')
  }
}

export const isThere = (file: string): Promise<boolean> =>
  lstat(file).then(
    () => true,
    () => false,
  )

async function readNotes(file: string): Promise<Notes | null> {
  try {
    const notes = JSON.parse(await readFile(file, 'utf8')) as Notes | null
    return Array.isArray(notes?.segments) ? notes : null
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

import { constants, open, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { codeOf } from './disk.ts'

/** Forces what was written through the caches of the system and of the disk, so that it outlives a power failure. */
export interface Forcing {
  /** The bytes of an open file; and its name, unless that is known to be there for good. */
  file(handle: FileHandle, file: string, isNamed: boolean): Promise<void>
  /** What was made, renamed or removed in the folder of `file`. */
  name(file: string): Promise<void>
}

/** For files in folders of `root`: a new name is an entry of its folder, and that one of the root. */
export function forcing(root: string): Forcing {
  // Nobody removes a folder, and there are not many of them.
  const lasting = new Set<string>()

  async function name(file: string): Promise<void> {
    const folder = path.dirname(file)
    await Promise.all([forceFolder(folder), ...(lasting.has(folder) ? [] : [forceFolder(root)])])
    lasting.add(folder)
  }

  return {
    name,
    async file(handle, file, isNamed) {
      await Promise.all([handle.datasync(), ...(isNamed ? [] : [name(file)])])
    },
  }
}

/** That a folder is found, and those above it. What we may not read, we did not make. */
export async function forceAncestors(folder: string): Promise<void> {
  const above = path.dirname(path.resolve(folder))
  try {
    await forceFolder(above)
  } catch (error) {
    if (codeOf(error) !== 'EACCES') throw error
  }
  if (above !== path.dirname(above)) await forceAncestors(above)
}

/** The entries of a folder: fsync of a file says nothing of the name that it is found by (fsync(2)). */
async function forceFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

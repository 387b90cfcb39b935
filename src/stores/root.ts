import { randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync, type BigIntStats } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { codeOf, storageError } from './disk.ts'

/** What tells this folder from any other that may stand in its place, such as the one under a mount point. */
const MARK = '.storage-root'

/** The folder that everything is stored in. */
export interface StorageRoot {
  readonly path: string
  /** the file that marks it */
  readonly mark: string
  /** what `placeOf` says of the mark since it was read last; empty before */
  place(): string
  /**
   * @throws {HttpError} unavailable 503 when the folder is not the one that it was at the start. Where a
   * disk is not mounted any more, bytes would go to another one, and be missing when it is back.
   */
  assertPresent(): Promise<void>
}

/** Which file it is, unchanged. */
export const placeOf = ({ dev, ino, ctimeNs }: BigIntStats): string => `${dev}:${ino}:${ctimeNs}`

/** Makes the folder where there is none, and marks it. */
export function openRoot(folder: string): StorageRoot {
  const root = path.resolve(folder)
  mkdirSync(root, { recursive: true })
  const mark = path.join(root, MARK)
  // Empty where another process is just about to write it.
  let identity = readOrMake(mark)
  /** the file in which that was read last: while it is the same, it need not be read again */
  let known = ''

  return {
    path: root,
    mark,
    place: () => known,
    async assertPresent() {
      try {
        const place = placeOf(await stat(mark, { bigint: true }))
        if (place === known) return
        const found = await readFile(mark, 'utf8')
        identity ||= found
        if (found === identity && found !== '') known = place
        if (found === identity) return
      } catch (error) {
        throw storageError(error)
      }
      throw storageError(new Error(`${root} is another folder than it was at the start`))
    },
  }
}

function readOrMake(mark: string): string {
  try {
    return readFileSync(mark, 'utf8')
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
  try {
    writeFileSync(mark, `${randomUUID()}\n`, { flag: 'wx', mode: 0o640, flush: true })
  } catch (error) {
    // Another process was faster.
    if (codeOf(error) !== 'EEXIST') throw error
  }
  return readFileSync(mark, 'utf8')
}

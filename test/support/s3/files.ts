import { randomUUID } from 'node:crypto'
import { createReadStream, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import path from 'node:path'

export interface StoredFile {
  name: string
  size: number
}

export interface Files {
  /** Writes what comes; nothing stays of it when the source fails. */
  write(source: AsyncIterable<Uint8Array>): Promise<StoredFile>
  /** The bytes from `start` up to `end`, which doesn't count, of files that stand one behind the other. */
  read(files: readonly StoredFile[], start: number, end: number): AsyncGenerator<Buffer>
  /** Removes them, from under a reader when it is done with them. */
  remove(files: readonly StoredFile[]): void
  /** Removes everything else. */
  keepOnly(files: readonly StoredFile[]): void
}

const READ_BYTES = 1024 * 1024

/** Where the bytes of objects and parts lie: a folder of files that are written once. */
export function openFiles(folder: string): Files {
  mkdirSync(folder, { recursive: true })
  const readers = new Map<string, number>()
  const doomed = new Set<string>()
  const at = (name: string) => path.join(folder, name)
  const unlink = (name: string) => rmSync(at(name), { force: true })

  function release(name: string): void {
    const left = (readers.get(name) ?? 1) - 1
    if (left > 0) {
      readers.set(name, left)
      return
    }
    readers.delete(name)
    if (doomed.delete(name)) unlink(name)
  }

  async function* pieces(files: readonly StoredFile[], start: number, end: number): AsyncGenerator<Buffer> {
    try {
      let position = 0
      for (const { name, size } of files) {
        const from = Math.max(start - position, 0)
        const to = Math.min(end - position, size)
        if (from < to)
          yield* createReadStream(at(name), { start: from, end: to - 1, highWaterMark: READ_BYTES })
        position += size
      }
    } finally {
      for (const { name } of files) release(name)
    }
  }

  return {
    async write(source) {
      const name = randomUUID()
      const file = await open(at(name), 'wx')
      let size = 0
      try {
        for await (const piece of source) {
          await file.writeFile(piece)
          size += piece.length
        }
        return { name, size }
      } catch (error) {
        unlink(name)
        throw error
      } finally {
        await file.close()
      }
    },

    read(files, start, end) {
      // At once, not with the first piece: a removal may come in between.
      for (const { name } of files) readers.set(name, (readers.get(name) ?? 0) + 1)
      return pieces(files, start, end)
    },

    remove(files) {
      for (const { name } of files)
        if (readers.has(name)) doomed.add(name)
        else unlink(name)
    },

    keepOnly(files) {
      const kept = new Set(files.map(({ name }) => name))
      for (const name of readdirSync(folder)) if (!kept.has(name)) unlink(name)
    },
  }
}

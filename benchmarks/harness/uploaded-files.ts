import { existsSync, readdirSync, rmSync } from 'node:fs'
import path from 'node:path'

/** Remembers what is in a folder. @returns what removes the files that have come since, and tells how many */
export function markFiles(folder: string): () => number {
  const before = new Set(filesIn(folder))
  return () => {
    const come = filesIn(folder).filter((file) => !before.has(file))
    for (const file of come) rmSync(file, { force: true })
    return come.length
  }
}

const filesIn = (folder: string): string[] =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => path.join(entry.parentPath, entry.name))
    : []

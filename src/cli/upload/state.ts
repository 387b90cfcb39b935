import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Source } from './source.ts'

export type Dialect = 'native' | 'tus'

/** An upload that is not finished: where a later run goes on. */
export interface Unfinished {
  dialect: Dialect
  id: string
}

/** One small file for each file that is on its way to a server. */
export interface States {
  /** 'changed' where the file is not the one any more whose upload began */
  find(source: Source): Promise<Unfinished | 'changed' | null>
  save(source: Source, upload: Unfinished): Promise<void>
  forget(source: Source): Promise<void>
}

type Env = Readonly<Record<string, string | undefined>>

/** @see https://specifications.freedesktop.org/basedir-spec/latest/ */
export function stateFolder(env: Env, home: string): string {
  const base = env['XDG_STATE_HOME']
  // A relative one is to be ignored.
  const root = base !== undefined && path.isAbsolute(base) ? base : path.join(home, '.local', 'state')
  return path.join(root, 'upload-server')
}

interface Saved extends Unfinished {
  server: string
  path: string
  size: number
  mtimeMs: number
}

export function openStates(folder: string, server: string): States {
  const fileOf = (source: Source) => {
    const key = createHash('sha256').update(`${server}\n${source.path}`).digest('hex')
    return path.join(folder, `${key}.json`)
  }
  return {
    async find(source) {
      const saved = await readSaved(fileOf(source))
      if (saved === null || saved.server !== server || saved.path !== source.path) return null
      if (saved.size !== source.size || saved.mtimeMs !== source.mtimeMs) return 'changed'
      return { dialect: saved.dialect, id: saved.id }
    },
    async save(source, { dialect, id }) {
      const { path: file, size, mtimeMs } = source
      const saved: Saved = { server, path: file, size, mtimeMs, dialect, id }
      await writeWhole(fileOf(source), `${JSON.stringify(saved)}\n`)
    },
    async forget(source) {
      await rm(fileOf(source), { force: true })
    },
  }
}

/** Null where there is none, or something that is none of ours. */
async function readSaved(file: string): Promise<Saved | null> {
  try {
    const saved = JSON.parse(await readFile(file, 'utf8')) as Saved
    return typeof saved.id === 'string' && ['native', 'tus'].includes(saved.dialect) ? saved : null
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** Whoever reads it, and whenever we die: the old text or the new one, never a part. */
export async function writeWhole(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 })
  const beside = `${file}.${randomUUID()}`
  try {
    await writeFile(beside, text, { mode: 0o600 })
    await rename(beside, file)
  } catch (error) {
    await rm(beside, { force: true })
    throw error
  }
}

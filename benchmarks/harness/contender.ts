import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { treeOf } from './usage.ts'

/** A server that takes part in a run. */
export interface Contender {
  name: string
  port: number
  pid: number
  /** where it keeps what is uploaded, and nothing else that it needs; null where that is not in a folder of its own */
  filesFolder: string | null
  /** headers that every request needs */
  headers: Record<string, string>
  stop(): Promise<void>
}

/** How to start one; each gets a folder of its own. */
export interface Recipe {
  name: string
  command: readonly string[]
  env(port: number, folder: string): Record<string, string> | Promise<Record<string, string>>
  headers?: Record<string, string>
  /** under its folder, what holds nothing but uploads; left out where there is no such */
  files?: string
}

const HERE = path.join(import.meta.dirname, '..')
const API_KEY = 'bench-key'

export const SINK: Recipe = {
  name: 'sink',
  command: [process.execPath, path.join(HERE, 'peers', 'sink.mjs')],
  env: (port, folder) => ({ PORT: String(port), DIR: folder }),
  files: '.',
}

export const PLAIN_TUS: Recipe = {
  name: '@tus/server',
  command: [process.execPath, path.join(HERE, 'peers', 'tus-server.mjs')],
  env: (port, folder) => ({ PORT: String(port), DIR: folder }),
  files: '.',
}

/** The SDK's own way to a bucket; proxied, the bytes go through it as they go through ours. */
export const libStorage = (
  name: 'lib-storage' | 'lib-storage proxied',
  s3: Record<string, string>,
): Recipe => ({
  name,
  command: [process.execPath, path.join(HERE, 'peers', 'lib-storage.mjs')],
  env: (port, folder) => ({ ...s3, PORT: String(port), DIR: folder }),
})

/**
 * This server as it is built, with its defaults.
 * @param database makes one for it, where it is not to be SQLite's file
 */
export const ours = (
  env: Record<string, string> = {},
  database: (() => Promise<string>) | null = null,
  name = 'ours',
): Recipe => ({
  name,
  command: [process.execPath, path.join(HERE, '..', 'dist', 'main.js')],
  env: async (port, folder) => ({
    PORT: String(port),
    DATABASE_URL: database ? await database() : `file:${folder}/uploads.db`,
    STORAGE_ROOT: `${folder}/files`,
    API_KEY_MAPPINGS: `${API_KEY}:bench`,
    LOG_LEVEL: 'warn',
    ...env,
  }),
  headers: { 'X-API-Key': API_KEY },
  files: 'files',
})

/** Several of them at one port, beside one, with and without its fast lane. */
export const oursTogether = (processes: string, database: (() => Promise<string>) | null): Recipe[] => [
  ours({ FAST_LANE: '0' }, database, 'ours, no lane'),
  ours({ WEB_CONCURRENCY: processes }, database, `ours, ${processes} processes`),
  ours({ WEB_CONCURRENCY: processes, FAST_LANE: '0' }, database, `ours, ${processes} processes, no lane`),
]

export const tusd = (binary: string): Recipe => ({
  name: 'tusd',
  command: [binary],
  env: () => ({}),
  files: '.',
})

const argumentsOf = (recipe: Recipe, port: number, folder: string): readonly string[] =>
  recipe.name === 'tusd'
    ? [...recipe.command, '-host', '127.0.0.1', '-port', String(port), '-upload-dir', folder, '-disable-cors']
    : recipe.command

export async function start(recipe: Recipe, dataFolder: string): Promise<Contender> {
  const port = await freePort()
  const folder = path.join(dataFolder, `${recipe.name.replace(/\W+/g, '-')}-${port}`)
  mkdirSync(folder, { recursive: true })
  const [program = '', ...args] = argumentsOf(recipe, port, folder)
  const child = spawn(program, args, {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', ...(await recipe.env(port, folder)) },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  await listening(child, port)
  return {
    name: recipe.name,
    port,
    pid: child.pid ?? 0,
    filesFolder: recipe.files === undefined ? null : path.join(folder, recipe.files),
    headers: recipe.headers ?? {},
    async stop() {
      if (child.exitCode === null) {
        const [, ...others] = treeOf(child.pid ?? 0)
        child.kill('SIGKILL')
        await once(child, 'exit')
        // Left to themselves they would still shut down, in a folder that is gone.
        for (const pid of others) killIfThere(pid)
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function listening(child: ChildProcess, port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} exited with ${child.exitCode}`)
    const up = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (up) return
    await sleep(100)
  }
  throw new Error(`${child.spawnfile} does not listen`)
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

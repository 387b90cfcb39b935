import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, onTestFinished } from 'vitest'
import { buildServer, type BuiltServer } from './built-server.ts'
import { ALICE } from './server.ts'

/** How a run of the command line ended, and what it said. */
export interface Ran {
  /** the exit code, or the signal that ended it */
  code: number | string
  stdout: string
  stderr: string
  /** the lines of stdout, parsed */
  json: any[]
}

export interface RunningCli {
  child: ChildProcess
  ended: Promise<Ran>
}

export interface RunOptions {
  env?: Record<string, string>
  cwd?: string
  /** what comes by a pipe; nothing else by default */
  input?: Uint8Array
}

export interface Cli {
  /** the built program */
  file(): string
  /** of the server */
  main(): string
  start(args: readonly string[], options?: RunOptions): RunningCli
  run(args: readonly string[], options?: RunOptions): Promise<Ran>
}

/**
 * The command line as `npm run build` makes it, in a process of its own, which is killed at the end of the
 * running test. It has Alice's key and nothing else of this process's environment.
 */
export function builtCli(): Cli {
  let built: BuiltServer | undefined
  beforeAll(async () => {
    built = await buildServer()
  })
  afterAll(() => built?.remove())

  const main = () => {
    if (!built) throw new Error('the program is built before the tests')
    return built.main
  }
  const file = () => path.join(path.dirname(main()), 'cli', 'main.js')
  const start: Cli['start'] = (args, { env = {}, cwd, input } = {}) => {
    const child = spawn(process.execPath, [file(), ...args], {
      cwd: cwd ?? path.dirname(file()),
      env: { PATH: process.env['PATH'] ?? '', UPLOAD_API_KEY: ALICE, ...env },
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    child.stdin.on('error', () => {})
    child.stdin.end(input)
    const said = Promise.all([text(child.stdout), text(child.stderr)])
    const ended = once(child, 'exit').then(async ([code, signal]): Promise<Ran> => {
      const [stdout, stderr] = await said
      const lines = stdout.split('\n').filter((line) => line.startsWith('{'))
      return { code: code ?? signal, stdout, stderr, json: lines.map((line) => JSON.parse(line)) }
    })
    return { child, ended }
  }
  return { file, main, start, run: (args, options) => start(args, options).ended }
}

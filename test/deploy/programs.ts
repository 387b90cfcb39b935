import { spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'

export const ROOT = path.join(import.meta.dirname, '..', '..')
export const deployed = (...names: string[]): string => path.join(ROOT, 'deploy', ...names)

const FOLDERS = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin']

/** @returns where it is, or null where a test that needs it can't run */
export function findProgram(name: string): string | null {
  for (const folder of FOLDERS) if (existsSync(path.join(folder, name))) return path.join(folder, name)
  return null
}

/** What a test that is skipped says for its reason. */
export const missing = (name: string, debianPackage = name): string =>
  `no ${name} here (apt-get install --no-install-recommends ${debianPackage})`

/**
 * A text with each of `changes` made in it.
 * @throws when one of them finds nothing to change: the file was changed and the test must be, too
 */
export function changed(text: string, changes: readonly (readonly [string | RegExp, string])[]): string {
  return changes.reduce((before, [what, by]) => {
    const after = before.replaceAll(typeof what === 'string' ? what : new RegExp(what, 'gm'), by)
    if (after === before) throw new Error(`nothing to change: ${what}`)
    return after
  }, text)
}

export interface Running {
  /** what it wrote to both outputs */
  output(): string
  stop(): Promise<void>
}

/** Starts a program; the caller stops it. */
export function launch(command: string, args: string[], env: Record<string, string> = {}): Running {
  const child = spawn(command, args, {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(child, 'exit')
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  return {
    output: () => output,
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      await exited
    },
  }
}

/**
 * A port that was free a moment ago, for programs that can't choose one themselves. It is below those that the kernel
 * gives away: else another test's server might get it in that moment.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000)
    const server = createServer()
    const bound = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!bound) continue
    server.close()
    await once(server, 'close')
    return port
  }
}

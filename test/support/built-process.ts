import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, onTestFinished } from 'vitest'
import { buildServer, type BuiltServer } from './built-server.ts'
import { clientOf, type Client } from './client.ts'
import { spawnServer, type ServerProcess } from './process.ts'

export interface Started {
  server: ServerProcess
  call: Client
}

export type StartBuilt = (
  root: string,
  env?: Record<string, string>,
  launcher?: readonly string[],
) => Promise<Started>

/** Builds the server for the tests of a file. What is started of it is killed at the end of the running test. */
export function builtServer(): StartBuilt {
  let built: BuiltServer | undefined
  beforeAll(async () => {
    built = await buildServer()
  })
  afterAll(() => built?.remove())

  return async (root, env = {}, launcher = []) => {
    if (!built) throw new Error('the server is built before the tests')
    const server = await spawnServer(root, { LOG_LEVEL: 'fatal', ...env }, built.main, launcher)
    onTestFinished(() => void server.child.kill('SIGKILL'))
    return { server, call: clientOf(server.url) }
  }
}

/** One server for all tests of a file, which may run side by side. */
export function sharedServer(env: Record<string, string> = {}): () => Started & { root: string } {
  let built: BuiltServer | undefined
  let started: (Started & { root: string }) | undefined
  beforeAll(async () => {
    built = await buildServer()
    const root = await mkdtemp(path.join(tmpdir(), 'uploads-'))
    const server = await spawnServer(root, { LOG_LEVEL: 'fatal', ...env }, built.main)
    started = { server, root, call: clientOf(server.url) }
  })
  afterAll(async () => {
    started?.server.child.kill('SIGKILL')
    if (started) await rm(started.root, { recursive: true, force: true })
    await built?.remove()
  })
  return () => {
    if (!started) throw new Error('the server is started before the tests')
    return started
  }
}

/** The variables that put a file of `test/fault/preload` in front of the server. */
export const preload = (name: string): Record<string, string> => ({
  NODE_OPTIONS: `--import=${path.join(import.meta.dirname, '..', 'fault', 'preload', name)}`,
})

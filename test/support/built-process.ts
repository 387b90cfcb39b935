import path from 'node:path'
import { afterAll, beforeAll, onTestFinished } from 'vitest'
import { buildServer, type BuiltServer } from './built-server.ts'
import { clientOf, type Client } from './client.ts'
import { spawnServer, type ServerProcess } from './process.ts'

export type StartBuilt = (
  root: string,
  env?: Record<string, string>,
) => Promise<{ server: ServerProcess; call: Client }>

/** Builds the server for the tests of a file. What is started of it is killed at the end of the running test. */
export function builtServer(): StartBuilt {
  let built: BuiltServer | undefined
  beforeAll(async () => {
    built = await buildServer()
  })
  afterAll(() => built?.remove())

  return async (root, env = {}) => {
    if (!built) throw new Error('the server is built before the tests')
    const server = await spawnServer(root, { LOG_LEVEL: 'fatal', ...env }, built.main)
    onTestFinished(() => void server.child.kill('SIGKILL'))
    return { server, call: clientOf(server.url) }
  }
}

/** The variables that put a file of `test/fault/preload` in front of the server. */
export const preload = (name: string): Record<string, string> => ({
  NODE_OPTIONS: `--import=${path.join(import.meta.dirname, '..', 'fault', 'preload', name)}`,
})

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { onTestFinished } from 'vitest'
import { parseConfig } from '../../src/config/config.ts'
import { createLog } from '../../src/observe/log.ts'
import { startServer } from '../../src/server.ts'
import { watchAnswers } from './described.ts'
import { startS3 } from './s3/server.ts'
import { s3Env } from './s3-env.ts'

export interface TestServer {
  url: string
  /** the folder of its database and files */
  root: string
  /** its log, a parsed line each */
  lines: Record<string, unknown>[]
  close(): Promise<void>
}

const BUILT_CONSOLE = path.join(import.meta.dirname, '..', '..', 'dist', 'console')

/** Two users, so that one can try what is the other's. */
export const ALICE = 'alice-key'
export const BOB = 'bob-key'

/** A real server in this process, on a free port and an empty folder; `env` as an operator would set it. */
export async function startTestServer(
  env: Record<string, string> = {},
  at?: string,
  consoleFolder = BUILT_CONSOLE,
): Promise<TestServer> {
  const root = at ?? (await mkdtemp(path.join(tmpdir(), 'uploads-')))
  const lines: Record<string, unknown>[] = []
  // `npm run test:s3`: the same tests, with the bytes somewhere else.
  const s3 = process.env['TEST_STORAGE'] === 's3' ? await startS3() : null
  const config = parseConfig({ ...testEnv(root), ...(s3 && s3Env(s3)), ...env })
  const log = createLog(config.logLevel, { write: (line) => lines.push(JSON.parse(line)) })
  const server = await startServer(config, { log, version: '0.0.0-test', consoleFolder })
  watchAnswers(server.url)
  return {
    url: server.url,
    root,
    lines,
    async close() {
      await server.close()
      await s3?.close()
      if (at === undefined) await rm(root, { recursive: true, force: true })
    },
  }
}

/** Like startTestServer, closed at the end of the running test. */
export async function useServer(env: Record<string, string> = {}): Promise<TestServer> {
  const server = await startTestServer(env)
  onTestFinished(() => server.close())
  return server
}

export const testEnv = (root: string): Record<string, string> => ({
  PORT: '0',
  DATABASE_URL: `file:${path.join(root, 'uploads.db')}`,
  STORAGE_ROOT: path.join(root, 'files'),
  API_KEY_MAPPINGS: `${ALICE}:alice,${BOB}:bob`,
  SHUTDOWN_GRACE_SECONDS: '1',
  ...fastLane(),
})

/** So that a run of the tests can read every body by the fast lane, or none. */
const fastLane = (): Record<string, string> =>
  Object.fromEntries(
    ['FAST_LANE', 'FAST_LANE_MIN_BYTES'].flatMap((name) => {
      const value = process.env[name]
      return value === undefined ? [] : [[name, value]]
    }),
  )

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { startPostgres } from '../../test/support/postgres-server.ts'
import { startBalancer } from './balancer.ts'
import { createNode, type ClusterNode } from './node.ts'

export interface Cluster {
  /** of the proxy in front of the nodes */
  url: string
  nodes: readonly ClusterNode[]
  /** requests that each node was given */
  served(): readonly number[]
  /** requests that were given to another node because the first one was gone */
  moved(): number
  close(): Promise<void>
}

export interface ClusterOptions {
  nodes: number
  apiKey: string
  /** arguments for node, such as `dist/main.js` */
  program: readonly string[]
  /** variables that differ from the defaults */
  env?: Readonly<Record<string, string>>
}

const ROOT = path.join(import.meta.dirname, '..', '..')
const ACCESS_KEY = { id: 'cluster-access-key', secret: 'cluster-secret-key' }
const BUCKET = 'uploads'

/** Nodes behind a round-robin proxy, on one PostgreSQL and one S3, all of them processes of this machine. */
export async function startCluster({ nodes: count, apiKey, program, env }: ClusterOptions): Promise<Cluster> {
  const closing: (() => Promise<unknown>)[] = []
  const close = async () => {
    for (const end of closing.splice(0).toReversed()) await end()
  }
  try {
    const postgres = await startPostgres()
    closing.push(() => postgres.remove())
    const s3 = await startS3()
    closing.push(s3.close)

    const settings = {
      DATABASE_URL: postgres.url,
      STORAGE_BACKEND: 's3',
      S3_BUCKET: BUCKET,
      S3_ENDPOINT_URL: s3.url,
      S3_FORCE_PATH_STYLE: 'true',
      S3_ACCESS_KEY_ID: ACCESS_KEY.id,
      S3_SECRET_ACCESS_KEY: ACCESS_KEY.secret,
      API_KEY_MAPPINGS: `${apiKey}:cluster`,
      LOG_LEVEL: 'warn',
      ...env,
    }
    const nodes: ClusterNode[] = []
    for (let i = 0; i < count; i++) nodes.push(await createNode(program, settings))
    closing.push(() => Promise.all(nodes.map((node) => node.stop())))
    // All at once: whoever comes first makes the tables.
    await Promise.all(nodes.map((node) => node.start()))
    const balancer = await startBalancer(nodes.map(({ url }) => url))
    closing.push(balancer.close)
    return { url: balancer.url, nodes, served: () => balancer.served, moved: balancer.moved, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** The S3 server of the tests, as a process of its own, so that it does not share a core with the load. */
async function startS3(): Promise<{ url: string; close(): Promise<void> }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'cluster-s3-'))
  const program = ['--import', 'tsx', path.join(ROOT, 'test', 'support', 's3', 'main.ts')]
  const keys = ['--access-key', ACCESS_KEY.id, '--secret-key', ACCESS_KEY.secret]
  const child = spawn(process.execPath, [...program, '--dir', folder, '--bucket', BUCKET, ...keys], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  return {
    url: await firstLine(child),
    async close() {
      const exited = once(child, 'exit')
      if (child.kill('SIGKILL')) await exited
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function firstLine(child: ChildProcess): Promise<string> {
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  return new Promise((resolve, reject) => {
    lines.once('line', resolve)
    child.once('exit', (code) => reject(new Error(`S3 exited with ${code}`)))
  })
}

import path from 'node:path'
import { onTestFinished } from 'vitest'
import { openPeer } from '../contract/ledger-peer.ts'
import { MIB } from './bytes.ts'
import { clientOf, TUS, type Client } from './client.ts'
import { useFolder } from './folder.ts'
import { spawnServer, type ServerProcess } from './process.ts'
import { eventually } from './slow-request.ts'

/** What several processes work on. */
export interface Site {
  /** the program; null for the sources */
  main: () => string | null
  /** @returns the URL of an empty database; `root` is a folder for it */
  database: (root: string) => Promise<string>
}

export interface Node extends ServerProcess {
  call: Client
}

export interface Nodes {
  root: string
  databaseUrl: string
  a: Node
  b: Node
  /** Another one on the same. */
  start(): Promise<Node>
}

export const CHUNK = MIB

/** Two processes on one database and one folder of bytes; they are killed at the end of the test. */
export async function useNodes(
  { main, database }: Site,
  variables: Record<string, string> = {},
): Promise<Nodes> {
  const root = await useFolder()
  const databaseUrl = await database(root)
  const start = async (): Promise<Node> => {
    const env = { LEASES: 'on', DATABASE_URL: databaseUrl, CHUNK_SIZE_BYTES: String(CHUNK) }
    const server = await spawnServer(root, { ...env, LOG_LEVEL: 'error', ...variables }, main())
    onTestFinished(async () => void (await server.signal('SIGKILL')))
    return { ...server, call: clientOf(server.url) }
  }
  const [a, b] = await Promise.all([start(), start()])
  return { root, databaseUrl, a, b, start }
}

/** @returns the path of a new upload of tus; null for a length that is declared later */
export async function createTus({ call }: Node, length: number | null): Promise<string> {
  const described = length === null ? { 'Upload-Defer-Length': '1' } : { 'Upload-Length': String(length) }
  const created = await call('POST', '/files', { headers: { ...TUS, ...described } })
  return new URL(created.headers.get('location') ?? '').pathname
}

export async function offsetOf({ call }: Node, upload: string): Promise<number> {
  return Number((await call('HEAD', upload, { headers: TUS })).headers.get('upload-offset') ?? Number.NaN)
}

/** Waits until the processes hold so many places of an upload, by what the database says. */
export async function untilHeld({ databaseUrl }: Nodes, upload: string, count: number): Promise<void> {
  const { leases, ledger } = await openPeer(databaseUrl, 'onlooker')
  try {
    await eventually(
      async () => (await leases.elsewhere(path.basename(upload))).length === count,
      `${count} places are held`,
    )
  } finally {
    await ledger.close()
  }
}

/** What a counter says, of all processes together. */
export async function countedBy(nodes: readonly Node[], metric: string): Promise<number> {
  const texts = await Promise.all(nodes.map(async ({ call }) => (await call('GET', '/metrics')).text))
  const values = texts.flatMap((text) => [...text.matchAll(new RegExp(`^${metric}(?:{.*})? (\\d+)$`, 'gm'))])
  return values.reduce((sum, [, value]) => sum + Number(value), 0)
}

import { randomFillSync } from 'node:crypto'
import type { Connection, Reply } from './connection.ts'
import type { Contender } from './contender.ts'

/** What was done, and how long each request took. */
export interface Work {
  units: number
  latenciesMs: number[]
}

export const newWork = (): Work => ({ units: 0, latenciesMs: [] })

export const MIB = 1024 * 1024
const BLOCK = randomFillSync(Buffer.allocUnsafeSlow(MIB))
export const bodyOf = (bytes: number): Buffer[] => [
  ...Array.from({ length: Math.floor(bytes / MIB) }, () => BLOCK),
  ...(bytes % MIB > 0 ? [BLOCK.subarray(0, bytes % MIB)] : []),
]

const TUS = { 'Tus-Resumable': '1.0.0' }
export const APPEND = { ...TUS, 'Content-Type': 'application/offset+octet-stream' }
export const expectStatus = (reply: Reply, ...wanted: number[]): Reply => {
  if (!wanted.includes(reply.status)) throw new Error(`answered ${reply.status}, not ${wanted.join(' or ')}`)
  return reply
}

export async function timed(work: Work, send: () => Promise<Reply>): Promise<Reply> {
  const started = performance.now()
  const reply = await send()
  work.latenciesMs.push(performance.now() - started)
  return reply
}

export async function create({ headers }: Contender, connection: Connection, size: number): Promise<string> {
  const reply = await connection.send('POST', '/files', { ...headers, ...TUS, 'Upload-Length': String(size) })
  const location = expectStatus(reply, 201).headers['location'] ?? ''
  return new URL(location, 'http://x').pathname
}

/** One upload in PATCHes of `patchBytes`. */
export async function uploadByTus(
  contender: Contender,
  connection: Connection,
  { size, patchBytes, extra = {} }: { size: number; patchBytes: number; extra?: Record<string, string> },
  work: Work,
): Promise<string> {
  const path = await create(contender, connection, size)
  for (let offset = 0; offset < size; offset += patchBytes) {
    const body = bodyOf(Math.min(patchBytes, size - offset))
    const headers = { ...contender.headers, ...APPEND, ...extra, 'Upload-Offset': String(offset) }
    expectStatus(await timed(work, () => connection.send('PATCH', path, headers, body)), 204)
    work.units += Math.min(patchBytes, size - offset) / MIB
  }
  return path
}

export async function initNative(
  { headers }: Contender,
  connection: Connection,
  fileSize: number,
  chunkSize: number,
): Promise<string> {
  const json = JSON.stringify({ file_name: 'bench.bin', file_size: fileSize, chunk_size: chunkSize })
  const reply = await connection.send(
    'POST',
    '/v1/uploads/init',
    { ...headers, 'Content-Type': 'application/json' },
    [Buffer.from(json)],
  )
  return expectStatus(reply, 201).headers['location'] ?? ''
}

/**
 * What ten small clients wait for their chunks alone, and beside one that keeps 64 chunks on their way.
 * Prints both, and how many times longer it takes beside the big one. The big client is a process of its
 * own, so that the small ones don't wait for its work; all of them share the machine with the server.
 *
 *   npm run build && npx tsx benchmarks/fairness.ts
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { percentile } from '../scripts/load-test/tally.ts'
import { spawnServer } from '../test/support/process.ts'

const SMALL = Array.from({ length: 10 }, (_, at) => `small-${at}`)
const CHUNKS_OF_SMALL = 50
const SMALL_BYTES = 64 * 1024
const PARALLEL_OF_BIG = 64
const BIG_BYTES = 1024 * 1024
const BIG_CHUNKS = 10_000

const main = path.join(import.meta.dirname, '..', 'dist', 'main.js')
const agent = new Agent({ keepAlive: true })

const send = (method: string, url: string, user: string, body: string | Uint8Array, type: string) =>
  new Promise<string>((resolve, reject) => {
    const headers = { 'X-API-Key': user, 'Content-Type': type, 'Content-Length': body.length }
    const req = request(url, { method, agent, headers }, (res) => {
      let text = ''
      res.setEncoding('utf8').on('data', (piece: string) => (text += piece))
      res.on('end', () => {
        if ((res.statusCode ?? 500) < 300) resolve(text)
        else reject(new Error(`${method} ${url}: ${res.statusCode} ${text}`))
      })
    })
    req.on('error', reject).end(body)
  })

async function initiate(url: string, user: string, chunks: number, chunkBytes: number): Promise<string> {
  const wanted = JSON.stringify({ file_name: 'a', file_size: chunks * chunkBytes, chunk_size: chunkBytes })
  const answer = await send('POST', `${url}/v1/uploads/init`, user, wanted, 'application/json')
  return (JSON.parse(answer) as { upload_id: string }).upload_id
}

const putChunk = (url: string, user: string, id: string, index: number, bytes: Uint8Array) =>
  send('PUT', `${url}/v1/uploads/${id}/chunks/${index}`, user, bytes, 'application/octet-stream')

/** @returns milliseconds of every chunk of every small client, each sending one behind the other */
async function smallOnes(url: string): Promise<number[]> {
  const bytes = Buffer.alloc(SMALL_BYTES)
  const times = SMALL.map(async (user) => {
    const id = await initiate(url, user, CHUNKS_OF_SMALL, SMALL_BYTES)
    const taken: number[] = []
    for (let index = 0; index < CHUNKS_OF_SMALL; index++) {
      const started = performance.now()
      await putChunk(url, user, id, index, bytes)
      taken.push(performance.now() - started)
    }
    return taken
  })
  return (await Promise.all(times)).flat()
}

/** The big client: keeps chunks of one upload on their way until it is told to stop; tells how many. */
async function beBig(url: string): Promise<void> {
  const id = await initiate(url, 'big', BIG_CHUNKS, BIG_BYTES)
  const bytes = Buffer.alloc(BIG_BYTES)
  let next = 0
  let stopped = false
  process.once('message', () => (stopped = true))
  process.send?.('at work')
  const senders = Array.from({ length: PARALLEL_OF_BIG }, async () => {
    while (!stopped && next < BIG_CHUNKS) await putChunk(url, 'big', id, next++, bytes)
  })
  await Promise.all(senders)
  process.send?.(next)
  process.disconnect()
  agent.destroy()
}

async function startBigOne(url: string): Promise<ChildProcess> {
  const big = fork(import.meta.filename, [url], { execArgv: ['--import', 'tsx'] })
  await once(big, 'message')
  return big
}

async function stopBigOne(big: ChildProcess): Promise<number> {
  const told = once(big, 'message')
  big.send('stop')
  return Number((await told)[0])
}

const middle = (times: number[]) => percentile(times, 50)
const line = (what: string, times: number[]) =>
  `${what.padEnd(18)} median ${middle(times).toFixed(1)} ms, p95 ${percentile(times, 95).toFixed(1)} ms`

async function measure(): Promise<void> {
  const root = await mkdtemp(path.join(tmpdir(), 'fairness-'))
  const env = {
    LOG_LEVEL: 'silent',
    API_KEY_MAPPINGS: [...SMALL, 'big'].map((user) => `${user}:${user}`).join(','),
    MAX_INFLIGHT_CHUNKS_PER_UPLOAD: String(PARALLEL_OF_BIG),
  }
  const server = await spawnServer(root, env, main)
  try {
    await smallOnes(server.url)
    const alone = await smallOnes(server.url)
    const big = await startBigOne(server.url)
    const beside = await smallOnes(server.url)
    const sent = await stopBigOne(big)
    console.log(line('ten small, alone', alone))
    console.log(line('beside a big one', beside))
    console.log(`the big one sent ${sent} MiB meanwhile`)
    console.log(`ratio of the medians: ${(middle(beside) / middle(alone)).toFixed(1)}`)
  } finally {
    await server.signal('SIGTERM')
    await rm(root, { recursive: true, force: true })
    agent.destroy()
  }
}

const [bigServer] = process.argv.slice(2)
await (bigServer === undefined ? measure() : beBig(bigServer))

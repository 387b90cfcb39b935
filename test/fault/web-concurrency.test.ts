import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { builtServer, preload, type Started } from '../support/built-process.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, type Answer } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { childrenOf, isRunning } from '../support/pool.ts'
import { findPostgres } from '../support/postgres.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'
import { createByTus, createNatively, offsetOf } from '../support/uploading.ts'

const CHUNK = MIB
const BYTES = bytesOf(12 * CHUNK + 5)
const chunkOf = (index: number) => BYTES.subarray(index * CHUNK, (index + 1) * CHUNK)

const startBuilt = builtServer()
const postgres = await findPostgres()

/** Workers that outlive the first process are killed as well. */
async function start(
  root: string,
  env: Record<string, string> = {},
): Promise<Started & { pid: number; workers(): number[] }> {
  const started = await startBuilt(root, {
    WEB_CONCURRENCY: '3',
    CHUNK_SIZE_BYTES: String(CHUNK),
    SHUTDOWN_GRACE_SECONDS: '10',
    ...env,
  })
  const pid = started.server.child.pid ?? 0
  const seen = new Set(childrenOf(pid))
  const workers = () => {
    const now = childrenOf(pid)
    for (const worker of now) seen.add(worker)
    return now
  }
  onTestFinished(() => {
    for (const worker of [...seen, ...workers()]) killIfThere(worker)
  })
  return { ...started, pid, workers }
}

function killIfThere(pid: number): void {
  if (isRunning(pid)) process.kill(pid, 'SIGKILL')
}

/** Asks until it is answered: a worker that dies takes its connections with it. */
async function patiently(ask: () => Promise<Answer>, wanted: readonly number[]): Promise<Answer> {
  for (let tries = 0; tries < 150; tries++) {
    const answer = await ask().catch(() => null)
    if (answer && wanted.includes(answer.status)) return answer
    await sleep(100)
  }
  throw new Error(`never answered ${wanted.join(' or ')}`)
}

/** A creation whose connection broke is asked once more: nobody knows whether the first one counts. */
async function created(create: () => Promise<string>): Promise<string> {
  for (;;) {
    try {
      return await create()
    } catch (error) {
      // What `fetch` throws; an answer that is none of a creation goes through.
      if (!(error instanceof TypeError)) throw error
      await sleep(100)
    }
  }
}

/** The value of a series in what `/metrics` answers. */
function valueIn(text: string, series: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `))
  return Number(line?.slice(series.length + 1) ?? Number.NaN)
}

test('both dialects upload through three workers while these are killed, and no acknowledged byte is lost', async () => {
  const { server, call, workers } = await start(await useFolder())
  expect(workers()).toHaveLength(3)
  let sending = true
  let killed = 0
  const killer = (async () => {
    while (sending) {
      await sleep(700)
      const [victim] = workers()
      // Nobody is killed as the last one: then it would be the start that is tested.
      if (!sending || victim === undefined || workers().length < 3) continue
      process.kill(victim, 'SIGKILL')
      killed += 1
    }
  })()

  const native = async () => {
    const id = await created(() => createNatively(call, BYTES.length, CHUNK))
    const acknowledged: number[] = []
    for (let index = 0; index <= 12; index++) {
      await patiently(() => call('PUT', `/v1/uploads/${id}/chunks/${index}`, { body: chunkOf(index) }), [202])
      acknowledged.push(index)
      const missing = await patiently(() => call('GET', `/v1/uploads/${id}/missing-chunks`), [200])
      for (const there of acknowledged) expect(missing.json.missing_chunk_indexes).not.toContain(there)
    }
    await patiently(() => call('POST', `/v1/uploads/${id}/complete`), [200])
    return `/v1/uploads/${id}/download`
  }
  const tus = async () => {
    const id = await created(() => createByTus(call, BYTES.length))
    let told = 0
    while (told < BYTES.length) {
      const head = await patiently(
        () => call('HEAD', `/files/${id}`, { headers: { 'Tus-Resumable': '1.0.0' } }),
        [200],
      )
      const offset = Number(head.headers.get('upload-offset'))
      expect(offset).toBeGreaterThanOrEqual(told)
      told = offset
      const body = BYTES.subarray(offset, offset + 2 * CHUNK)
      const answer = await call('PATCH', `/files/${id}`, { headers: patchAt(offset), body }).catch(() => null)
      if (answer?.status === 204) told = Number(answer.headers.get('upload-offset'))
      else await sleep(100)
    }
    return `/files/${id}`
  }
  // The killer has its way at least twice.
  const rounds = async (one: () => Promise<string>) => {
    const files: string[] = []
    do files.push(await one())
    while (killed < 2)
    return files
  }
  const files = (await Promise.all([rounds(native), rounds(native), rounds(tus), rounds(tus)])).flat()
  sending = false
  await killer
  expect(killed).toBeGreaterThan(1)
  await eventually(() => workers().length === 3, 'each has its successor')
  for (const file of files) expect(sha256(await download(server.url, file))).toBe(sha256(BYTES))
})

test.skipIf(!postgres.available)(
  'on PostgreSQL chunks come by all workers at once and complete one file',
  async () => {
    const { server, call } = await start(await useFolder(), { DATABASE_URL: await postgres.database() })
    const id = await createNatively(call, BYTES.length, CHUNK)
    const length = (index: number) => ({ 'Content-Length': String(chunkOf(index).length) })
    const answers = await Promise.all(
      Array.from({ length: 13 }, async (_, index) => {
        // A connection each, so that they come to all of them; one that is refused for their number comes again.
        const put = async () => {
          const request = slowRequest(server.url, 'PUT', `/v1/uploads/${id}/chunks/${index}`, length(index))
          await request.send(chunkOf(index))
          request.end()
          return (await request.answer).status
        }
        let status = await put()
        while (status === 429) status = await put()
        return status
      }),
    )
    expect(new Set(answers)).toEqual(new Set([202]))
    expect((await call('POST', `/v1/uploads/${id}/complete`)).status).toBe(200)
    expect(sha256(await download(server.url, `/v1/uploads/${id}/download`))).toBe(sha256(BYTES))
  },
)

test('metrics are of all workers together, whoever answers, and do not fall when one dies', async () => {
  const { server, call, workers } = await start(await useFolder(), { FAST_LANE: '1' })
  const ids = []
  // Each by a connection of its own, so that each worker gets some.
  for (let i = 0; i < 9; i++) {
    const id = await createByTus(call, CHUNK)
    const length = { 'Content-Length': String(CHUNK) }
    const request = slowRequest(server.url, 'PATCH', `/files/${id}`, { ...patchAt(0), ...length })
    await request.send(chunkOf(i))
    request.end()
    expect((await request.answer).status).toBe(204)
    ids.push(id)
  }
  const scrape = () => {
    const request = slowRequest(server.url, 'GET', '/metrics')
    request.end()
    return request.answer
  }
  for (let i = 0; i < 4; i++) {
    const { status, headers, text } = await scrape()
    expect([status, headers['content-type']]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8'])
    expect(valueIn(text, 'bytes_uploaded_total{dialect="tus"}')).toBe(9 * CHUNK)
    expect(valueIn(text, 'uploads_completed_total{dialect="tus"}')).toBe(9)
    // The socket that a worker gets is one that the lane knows.
    expect(valueIn(text, 'request_bodies_total{way="lane"}')).toBe(9)
    expect(text).not.toContain('request_bodies_total{way="parser"}')
    // Sixteen are divided between three, and rounded up.
    expect(valueIn(text, 'worker_count')).toBe(18)
    expect(valueIn(text, 'build_info{version="0.1.0",store="local",database="sqlite"}')).toBe(1)
    expect(valueIn(text, 'upload_size_bytes_count{dialect="tus"}')).toBe(9)
    expect(valueIn(text, 'process_start_time_seconds')).toBeGreaterThan(1_600_000_000)
  }
  // One after the other is killed: nobody is left who counted.
  for (const worker of workers()) {
    process.kill(worker, 'SIGKILL')
    await eventually(() => workers().length === 3 && !workers().includes(worker), 'it has its successor')
    const { json } = await patiently(() => call('GET', '/ready'), [200])
    expect(json).toEqual({ status: 'ready' })
    const { text } = await patiently(async () => clientOf(server.url)('GET', '/metrics'), [200])
    expect(valueIn(text, 'bytes_uploaded_total{dialect="tus"}')).toBe(9 * CHUNK)
  }
})

test('a worker that stands still keeps nobody from the metrics, and what it counted before stays in them', async () => {
  const { call, server, workers } = await start(await useFolder(), { WEB_CONCURRENCY: '2' })
  for (let i = 0; i < 4; i++) await createByTus(clientOf(server.url), 5)
  expect(valueIn((await call('GET', '/metrics')).text, 'uploads_created_total{dialect="tus"}')).toBe(4)
  const [still] = workers()
  process.kill(still ?? 0, 'SIGSTOP')
  onTestFinished(() => killIfThere(still ?? 0))
  // Connections come to both in turn: of two, one is answered.
  const asked = [0, 1].map(() => {
    const request = slowRequest(server.url, 'GET', '/metrics')
    request.end()
    return request
  })
  const { text } = await Promise.any(asked.map(({ answer }) => answer))
  for (const request of asked) request.cut()
  expect(valueIn(text, 'uploads_created_total{dialect="tus"}')).toBe(4)
})

test('SIGTERM lets every worker answer what it was at, and ends with 0', async () => {
  const root = await useFolder()
  const first = await start(root)
  const ids = await Promise.all(Array.from({ length: 6 }, () => createByTus(first.call, BYTES.length)))
  const length = { 'Content-Length': String(CHUNK) }
  const requests = ids.map((id) =>
    slowRequest(first.server.url, 'PATCH', `/files/${id}`, { ...patchAt(0), ...length }),
  )
  await Promise.all(requests.map((request) => request.send(chunkOf(0).subarray(0, CHUNK / 2))))
  await eventually(
    async () => valueIn((await first.call('GET', '/metrics')).text, 'inflight_chunks') === 6,
    'six bodies are open',
  )
  const [exited, workers] = [once(first.server.child, 'exit'), first.workers()]
  first.server.child.kill('SIGTERM')
  await eventually(async () => {
    const refused = await clientOf(first.server.url)('GET', '/ready').catch(() => null)
    return refused === null || refused.status === 503
  }, 'the shutdown has begun')
  // As by Ctrl-C under npm, which tells it again.
  first.server.child.kill('SIGINT')
  for (const request of requests) {
    await request.send(chunkOf(0).subarray(CHUNK / 2))
    request.end()
  }
  for (const request of requests) expect((await request.answer).status).toBe(204)
  expect(await exited).toEqual([0, null])
  for (const worker of workers) expect(isRunning(worker)).toBe(false)

  // One process alone gets the database, too: nobody holds it any more.
  const next = await startBuilt(root)
  for (const id of ids) expect(await offsetOf(next.call, id)).toBe(CHUNK)
})

test('when the first process is killed the workers end what they are at and then themselves, and the port is free', async () => {
  const root = await useFolder()
  const first = await start(root)
  const id = await createByTus(first.call, BYTES.length)
  const length = { 'Content-Length': String(CHUNK) }
  const request = slowRequest(first.server.url, 'PATCH', `/files/${id}`, { ...patchAt(0), ...length })
  await request.send(chunkOf(0).subarray(0, CHUNK / 2))
  await eventually(
    async () => valueIn((await first.call('GET', '/metrics')).text, 'inflight_chunks') === 1,
    'the body is open',
  )
  const workers = first.workers()
  await first.server.signal('SIGKILL')
  await request.send(chunkOf(0).subarray(CHUNK / 2))
  request.end()
  expect((await request.answer).status).toBe(204)
  await eventually(() => !workers.some(isRunning), 'all workers have ended')

  const { port } = new URL(first.server.url)
  const next = await start(root, { PORT: port })
  expect(next.server.url).toBe(first.server.url)
  expect(await offsetOf(next.call, id)).toBe(CHUNK)
})

test('when all workers are killed at once, others come at the same port', async () => {
  const { call, workers } = await start(await useFolder(), { WEB_CONCURRENCY: '2' })
  for (const worker of workers()) process.kill(worker, 'SIGKILL')
  const answer = await patiently(() => call('GET', '/ready'), [200])
  expect(answer.status).toBe(200)
})

test('a worker that is told to end by itself is replaced, and the others serve meanwhile', async () => {
  const { call, workers } = await start(await useFolder())
  const [first = 0] = workers()
  process.kill(first, 'SIGTERM')
  await eventually(() => workers().length === 3 && !workers().includes(first), 'it has its successor')
  expect((await patiently(() => call('GET', '/ready'), [200])).status).toBe(200)
})

test('when no worker gets up the server says so and ends with 1', async () => {
  const root = await useFolder()
  // It works in the first process, and keeps those behind it from their start.
  const spoiler = path.join(root, 'spoil.mjs')
  await writeFile(
    spoiler,
    "import cluster from 'node:cluster'\nif (cluster.isWorker) throw new Error('spoiled')\n",
  )
  const { code, out } = await runToEnd(root, { NODE_OPTIONS: `--import=${spoiler}` })
  expect(code).toBe(1)
  expect(out).toContain('no worker gets up; giving up')
  expect(out).not.toContain('Upload server')
})

test('a port that is taken ends the start at once, before any worker', async () => {
  const taken = createServer()
  await new Promise<void>((resolve) => {
    taken.listen(0, '127.0.0.1', resolve)
  })
  onTestFinished(() => void taken.close())
  const { port } = taken.address() as AddressInfo
  const { code, out } = await runToEnd(await useFolder(), { PORT: String(port) })
  expect(code).toBe(1)
  expect(out).toContain('EADDRINUSE')
  expect(out).not.toContain('a worker has ended')
})

test('without WEB_CONCURRENCY there is one process, which loads nothing of several and says no pid', async () => {
  const root = await useFolder()
  const loaded = (name: string) => ({ ...preload('files-loaded.mjs'), FILES_LOADED: path.join(root, name) })
  const filesOf = async (name: string, pid: number | undefined) =>
    (await readFile(path.join(root, name), 'utf8'))
      .split('\n')
      .filter((line) => line.startsWith(`${pid} `))
      .map((line) => line.replace(/^.*\/dist\//, ''))
  const ofSeveral = [
    'process/pool-worker.js',
    'process/primary.js',
    'process/pool-metrics.js',
    'config/share.js',
  ]

  const { server } = await startBuilt(root, { LOG_LEVEL: 'info', ...loaded('alone') })
  let out = ''
  server.child.stdout?.on('data', (piece) => (out += piece))
  expect(childrenOf(server.child.pid ?? 0)).toEqual([])
  const alone = await filesOf('alone', server.child.pid)
  expect(alone).toContain('server.js')
  for (const file of ofSeveral) expect(alone).not.toContain(file)
  expect(await server.signal('SIGTERM')).toBe(0)
  expect(out).toContain('"msg":"bye"')
  expect(out).not.toContain('"pid"')

  const first = await start(root, { ...loaded('several') })
  const ofFirst = await filesOf('several', first.pid)
  expect(ofFirst).toContain('process/primary.js')
  expect(ofFirst).not.toContain('server.js')
  const ofWorker = await filesOf('several', first.workers()[0])
  expect(ofWorker).toContain('process/pool-worker.js')
  expect(ofWorker).not.toContain('process/primary.js')
})

test('the greeting comes once, and log lines name the worker that wrote them', async () => {
  const root = await useFolder()
  const { server, call, workers } = await start(root, { LOG_LEVEL: 'info' })
  let out = ''
  server.child.stdout?.on('data', (piece) => (out += piece))
  const pids = workers()
  for (let i = 0; i < 6; i++) {
    const request = slowRequest(server.url, 'GET', '/version')
    request.end()
    await request.answer
  }
  expect((await call('GET', '/ready')).status).toBe(200)
  expect(await server.signal('SIGTERM')).toBe(0)
  const lines = out
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { msg: string; pid: number })
  const wrote = lines.filter(({ msg }) => msg === 'request').map(({ pid }) => pid)
  expect(new Set(wrote)).toEqual(new Set(pids))
  // What stands before it was read by whoever waited for the start.
  expect(out).not.toContain('Upload server')
})

/** Starts what is expected to end by itself. */
async function runToEnd(root: string, env: Record<string, string>): Promise<{ code: number; out: string }> {
  const out = await startBuilt(root, { WEB_CONCURRENCY: '2', LOG_LEVEL: 'info', ...env }).then(
    () => 'it got up',
    (error: Error) => error.message,
  )
  return { code: Number(/exited with (\d+)/.exec(out)?.[1] ?? Number.NaN), out }
}

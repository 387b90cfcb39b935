import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { retryAfterMs } from '../../scripts/load-test/client.ts'
import { parseOptions } from '../../scripts/load-test/options.ts'
import { newPayload } from '../../scripts/load-test/payload.ts'
import { average, percentile } from '../../scripts/load-test/tally.ts'

const options = (...args: string[]) => {
  const parsed = parseOptions(args)
  if (!('options' in parsed)) throw new Error(JSON.stringify(parsed))
  return parsed.options
}

describe('the command line', () => {
  test('takes concurrency from the profile, and a flag wins over it', () => {
    expect(options()).toMatchObject({ concurrentFiles: 4, chunkWorkers: 4 })
    expect(options('--profile', 'max-throughput')).toMatchObject({ concurrentFiles: 8, chunkWorkers: 8 })
    expect(options('--per-file-chunk-workers', '3', '--profile', 'fast')).toMatchObject({
      concurrentFiles: 2,
      chunkWorkers: 3,
    })
  })

  test('has tus send one chunk of a file at a time', () => {
    expect(options('--dialect', 'tus', '--per-file-chunk-workers', '9').chunkWorkers).toBe(1)
  })

  test.each([
    [['--fils', '3'], /--fils/],
    [['stray'], /stray/],
    [['--files', '0'], /--files: "0"/],
    [['--files', '1e3'], /--files: "1e3"/],
    [['--file-size-bytes', '-1'], /file-size-bytes/],
    [['--chunk-size-bytes', '0'], /--chunk-size-bytes/],
    [['--profile', 'quick'], /--profile: "quick" is none of fast, balanced, max-throughput/],
    [['--dialect', 'ftp'], /--dialect/],
    [['--base-url', 'localhost:8000'], /--base-url/],
    [['--api-key'], /api-key/],
  ])('%j is refused with words that name the flag', (args, words) => {
    expect(parseOptions(args)).toEqual({ problem: expect.stringMatching(words) })
  })
})

describe('the figures', () => {
  test('the percentile is the value at its nearest rank, whatever the order', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => 100 - index)
    expect(percentile(hundred, 95)).toBe(95)
    expect(percentile([3, 1, 2], 95)).toBe(3)
    expect(percentile([3, 1, 2], 50)).toBe(2)
    expect(percentile([7], 95)).toBe(7)
    expect(percentile([], 95)).toBe(0)
  })

  test('the average of nothing is 0', () => {
    expect(average([])).toBe(0)
    expect(average([1, 2])).toBe(1.5)
  })

  test('Retry-After is seconds or a date, and never a wait into the past', () => {
    const now = Date.parse('2024-01-01T00:00:00Z')
    expect(retryAfterMs('3', now)).toBe(3000)
    expect(retryAfterMs('Mon, 01 Jan 2024 00:00:05 GMT', now)).toBe(5000)
    expect(retryAfterMs('Mon, 01 Jan 2023 00:00:00 GMT', now)).toBe(0)
    expect(retryAfterMs('soon', now)).toBe(1000)
    expect(retryAfterMs(undefined, now)).toBe(1000)
  })
})

describe('the payload', () => {
  test('gives the rest of a chunk, the last one shorter, and no two neighbours alike', () => {
    const { rest } = newPayload(2500, 1000)
    expect([rest(0, 0).length, rest(0, 1000).length, rest(0, 2000).length]).toEqual([1000, 1000, 500])
    expect(rest(0, 1300)).toEqual(rest(0, 1000).subarray(300))
    expect(rest(0, 0).equals(rest(0, 1000))).toBe(false)
    expect(rest(0, 0).equals(rest(1, 0))).toBe(false)
  })
})

/**
 * A stand-in, so that a refusal and a broken connection come exactly when the test wants them; the real
 * server is measured elsewhere. Holds the bytes of each upload in memory, in both dialects.
 */
const standIn = () => {
  const uploads = new Map<string, { bytes: Buffer; chunkSize: number; offset: number }>()
  /** what happens to the next writes, first come first served */
  const mishaps: ((req: http.IncomingMessage, res: http.ServerResponse) => Promise<void> | void)[] = []
  const requests: string[] = []

  const server = http.createServer((req, res) => {
    void answer(req, res).catch(() => req.destroy())
  })
  const answer = async (req: http.IncomingMessage, res: http.ServerResponse): Promise<void> => {
    const [, id = '', index] = /([^/]+)(?:\/(?:chunks\/(\d+)|complete|download))?$/.exec(req.url ?? '') ?? []
    requests.push(`${req.method} ${req.url}`)
    if (req.method === 'PUT' || req.method === 'PATCH') {
      const mishap = mishaps.shift()
      if (mishap) return mishap(req, res)
    }
    const body = await buffer(req)
    const upload = uploads.get(id)
    const json = (status: number, value: unknown): void => {
      res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value))
    }

    if (req.headers['x-api-key'] !== 'dev-key') return json(401, { error_code: 'missing_api_key' })
    if (req.method === 'POST' && id === 'init') {
      const { file_size, chunk_size } = JSON.parse(body.toString())
      uploads.set(`u${uploads.size}`, { bytes: Buffer.alloc(file_size), chunkSize: chunk_size, offset: 0 })
      return json(201, { upload_id: `u${uploads.size - 1}`, chunk_size })
    }
    if (req.method === 'POST' && id === 'files') {
      const bytes = Buffer.alloc(Number(req.headers['upload-length']))
      uploads.set(`u${uploads.size}`, { bytes, chunkSize: 0, offset: 0 })
      res.writeHead(201, { Location: `https://public.example/files/u${uploads.size - 1}` }).end()
      return
    }
    if (!upload) return json(404, { error_code: 'not_found' })
    if (req.method === 'PUT') {
      body.copy(upload.bytes, Number(index) * upload.chunkSize)
      return json(202, { status: 'UPLOADED' })
    }
    if (req.method === 'PATCH') {
      if (Number(req.headers['upload-offset']) !== upload.offset) return json(409, {})
      upload.offset += body.copy(upload.bytes, upload.offset)
      res.writeHead(204, { 'Upload-Offset': upload.offset }).end()
      return
    }
    if (req.method === 'HEAD') return void res.writeHead(200, { 'Upload-Offset': upload.offset }).end()
    if (req.method === 'GET') return void res.writeHead(200).end(upload.bytes)
    return json(200, { status: 'COMPLETED' })
  }
  return { server, uploads, mishaps, requests }
}

const throttle = (_req: http.IncomingMessage, res: http.ServerResponse): void => {
  res.writeHead(429, { 'Retry-After': '1', Connection: 'close' }).end()
}
const breakOff = (req: http.IncomingMessage): void => {
  req.socket.destroy()
}

describe('the whole script', () => {
  let stand: ReturnType<typeof standIn>
  let baseUrl: string
  let folder: string

  beforeEach(async () => {
    stand = standIn()
    stand.server.listen(0, '127.0.0.1')
    await once(stand.server, 'listening')
    baseUrl = `http://127.0.0.1:${(stand.server.address() as AddressInfo).port}`
    folder = mkdtempSync(join(tmpdir(), 'load-test-'))
  })
  afterEach(async () => {
    stand.server.closeAllConnections()
    stand.server.close()
    await once(stand.server, 'close')
    rmSync(folder, { recursive: true })
  })

  const run = async (...args: string[]) => {
    const child = spawn(process.execPath, [
      '--import',
      'tsx',
      'scripts/load-test.ts',
      '--base-url',
      baseUrl,
      ...args,
    ])
    const output = { stdout: '', stderr: '' }
    child.stdout.on('data', (text: Buffer) => (output.stdout += text.toString()))
    child.stderr.on('data', (text: Buffer) => (output.stderr += text.toString()))
    const [code] = await once(child, 'close')
    return { code, ...output }
  }
  const small = ['--files', '3', '--file-size-bytes', '2500', '--chunk-size-bytes', '1000', '--verify']

  test('uploads every file natively through a refusal and a broken connection, and counts both', async () => {
    stand.mishaps.push(throttle, breakOff)
    const file = join(folder, 'result.json')
    const { code, stdout } = await run(...small, '--output', file)
    expect(stdout).toMatch(/files +3 uploaded, 0 failed/)
    expect(code).toBe(0)

    const result = JSON.parse(readFileSync(file, 'utf8'))
    expect(Object.keys(result).toSorted()).toEqual([
      'chunk_latency_ms_avg',
      'chunk_latency_ms_p95',
      'config',
      'elapsed_seconds',
      'failed_files',
      'file_total_ms_avg',
      'retries',
      'throttled',
      'throughput_mb_per_s',
      'total_bytes_uploaded',
      'total_chunks_uploaded',
    ])
    expect(result).toMatchObject({
      total_bytes_uploaded: 7500,
      total_chunks_uploaded: 9,
      retries: 1,
      throttled: 1,
      failed_files: 0,
    })
    // Retry-After: 1 was waited for
    expect(result.elapsed_seconds).toBeGreaterThanOrEqual(1)
    expect(stand.requests.filter((request) => request.startsWith('PUT'))).toHaveLength(9 + 2)
  })

  test('goes on with tus where HEAD says, when a PATCH broke off half-way', async () => {
    stand.mishaps.push(async (req) => {
      const upload = stand.uploads.get(req.url?.split('/').at(-1) ?? '')
      const [piece] = await once(req, 'data')
      if (upload) upload.offset += (piece as Buffer).copy(upload.bytes, 0, 0, 400)
      req.socket.destroy()
    })
    const { code, stdout } = await run(...small, '--dialect', 'tus', '--json')
    expect(JSON.parse(stdout)).toMatchObject({
      total_bytes_uploaded: 7500,
      total_chunks_uploaded: 9,
      retries: 1,
      failed_files: 0,
      config: { dialect: 'tus', per_file_chunk_workers: 1 },
    })
    expect(code).toBe(0)
    expect(stand.requests.filter((request) => request.startsWith('HEAD'))).toHaveLength(1)
  })

  test('goes on with tus when a PATCH was stored and only its answer was lost', async () => {
    stand.mishaps.push(async (req) => {
      const upload = stand.uploads.get(req.url?.split('/').at(-1) ?? '')
      const body = await buffer(req)
      if (upload) upload.offset += body.copy(upload.bytes, 0)
      req.socket.destroy()
    })
    const args = ['--files', '1', '--file-size-bytes', '700', '--dialect', 'tus', '--verify', '--json']
    const { code, stdout } = await run(...args)
    expect(JSON.parse(stdout)).toMatchObject({
      total_bytes_uploaded: 700,
      total_chunks_uploaded: 1,
      retries: 1,
    })
    expect(code).toBe(0)
  })

  test('exits 1 when a file fails, and says which and why', async () => {
    stand.mishaps.push((_req, res) => void res.writeHead(400).end('{"detail":"no"}'))
    const { code, stdout, stderr } = await run(...small, '--json', '--concurrent-files', '1')
    expect(JSON.parse(stdout).failed_files).toBe(1)
    expect(stderr).toMatch(/failed +file 0: answered 400: \{"detail":"no"\}/)
    expect(code).toBe(1)
  })

  test('exits 1 when a download differs from what was sent', async () => {
    stand.mishaps.push((req, res) => void req.resume().on('end', () => res.writeHead(202).end()))
    const { code, stderr } = await run(...small, '--json')
    expect(stderr).toMatch(/the download differs/)
    expect(code).toBe(1)
  })

  test('exits 2 on a flag it does not know, before any request', async () => {
    const { code, stderr } = await run('--speed', '9')
    expect(stderr).toMatch(/'--speed'[^]*--help/)
    expect(code).toBe(2)
    expect(stand.requests).toEqual([])
  })
})

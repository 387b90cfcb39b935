import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Rules } from './call.ts'
import { openFiles } from './files.ts'
import { newRequestLog, type RequestLog } from './request-log.ts'
import { serveWith } from './serve.ts'
import type { Credentials } from './signature.ts'
import { filesOf, openState } from './state.ts'
import { viewsOf, type Views } from './views.ts'

export interface S3Options {
  /** Cloudflare R2's limits in place of Amazon's; false by default */
  r2?: boolean
  /** where everything lies, and is found again; by default a temporary folder that goes away with close() */
  dir?: string
  /** 0, the default, takes a free one */
  port?: number
  /** a bucket to begin with, unless it is there; `uploads` by default, null for none */
  bucket?: string | null
  /** us-east-1 by default, auto for R2 */
  region?: string
  credentials?: Credentials
  /** the least size of every part but the last; 5 MiB by default */
  minPartBytes?: number
  /** the most of a part or a PutObject; 5 GiB by default */
  maxPartBytes?: number
  /** whether completing a completed upload answers 200 again, as Amazon does for a while, or NoSuchUpload; by default it does unless R2 */
  completesAgain?: boolean
}

export interface S3Emulator extends RequestLog, Views {
  url: string
  /** the one that it began with; empty if none */
  bucket: string
  credentials: Credentials
  region: string
  /** Ends every connection. */
  close(): Promise<void>
}

const MIB = 1024 * 1024
const DEFAULT_CREDENTIALS = { accessKeyId: 'test-access-key', secretAccessKey: 'test-secret-key' }

/** A strict S3 server of one node, for tests. */
export async function startS3(options: S3Options = {}): Promise<S3Emulator> {
  const { r2 = false, port = 0, bucket = 'uploads', credentials = DEFAULT_CREDENTIALS } = options
  const dir = options.dir ?? mkdtempSync(path.join(tmpdir(), 's3-'))
  const rules: Rules = {
    r2,
    region: options.region ?? (r2 ? 'auto' : 'us-east-1'),
    minPartBytes: options.minPartBytes ?? 5 * MIB,
    maxPartBytes: options.maxPartBytes ?? 5 * 1024 * MIB,
    completesAgain: options.completesAgain ?? !r2,
  }
  const files = openFiles(path.join(dir, 'files'))
  const state = openState(path.join(dir, 'journal'))
  // What a process left that was killed in the middle of a request.
  files.keepOnly(filesOf(state.buckets))
  if (bucket !== null && !state.buckets.has(bucket))
    state.change({ type: 'bucket created', bucket, atMs: Date.now() })

  const log = newRequestLog()
  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 60_000 })
  const serve = serveWith({ rules, state, files, credentials, log })
  server.on('request', (req, res) => void serve(req, res, false))
  server.on('checkContinue', (req, res) => void serve(req, res, true))
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')

  return {
    ...log,
    ...viewsOf(state, files, bucket ?? ''),
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bucket: bucket ?? '',
    credentials,
    region: rules.region,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
      if (options.dir === undefined) rmSync(dir, { recursive: true, force: true })
    },
  }
}

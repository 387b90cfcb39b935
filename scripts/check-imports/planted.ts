/**
 * A small tree for `check-imports --self-test`: every line with `// planted` breaks a rule and
 * must be found, every other line is allowed and must not be.
 */
export const PLANTED: Readonly<Record<string, string>> = {
  'src/core/planted.ts': `
import type { ZodType } from 'zod'
import { type Upload } from './upload.ts'
import { z } from 'zod' // planted
import type { Logger } from 'pino' // planted
import { join } from 'node:path' // planted
import type { Readable } from 'stream' // planted
import { open } from '../uploads/open.ts' // planted
import type { Ledger } from '../ledger/ledger.ts' // planted
export { Gate } from '../admission/gate.ts' // planted
// import { open } from '../uploads/open.ts'
const words = "import { open } from '../uploads/open.ts'"
const pattern = /import { open } from '..\\/uploads\\/open.ts'/
`,
  'src/uploads/planted.ts': `
import { createHash } from 'node:crypto'
import { planChunkSize } from '../core/geometry.ts'
import { append } from './append.ts'
import pRetry from 'p-retry' // planted
import { localStore } from '../stores/local.ts' // planted
import type { UploadLedger } from '../ledger/ledger.ts' // planted
const gate = await import('../admission/gate.ts') // planted
`,
  'src/admission/planted.ts': `
import type { Gate } from '../core/ports/gate.ts'
import { putChunk } from '../uploads/put-chunk.ts' // planted
import { metrics } from '../observe/metrics.ts' // planted
`,
  'src/ledger/planted.ts': `
import { PrismaClient } from '@prisma/client'
import { Prisma } from '../generated/sqlite/client.ts'
type Client = import('../generated/sqlite/client.ts').PrismaClient
type Store = import('../stores/local.ts').Store // planted
export * from '../http/errors.ts' // planted
const url = process.env.DATABASE_URL // planted
`,
  'src/stores/planted.ts': `
import { FileStore } from '@tus/file-store'
import { Prisma } from '../generated/sqlite/client.ts' // planted
import type { Config } from '../config/config.ts' // planted
const { env } = process // planted
`,
  'src/hashing/planted.ts': `
import { Worker } from 'node:worker_threads'
import type { OpenHash } from '../core/ports/hash.ts'
import { createLocalStore } from '../stores/local.ts' // planted
`,
  'src/events/planted.ts': `
import type { Deliveries } from '../core/events.ts'
import { createDeliveries } from '../ledger/deliveries.ts' // planted
import type { Webhooks } from '../config/webhooks.ts' // planted
`,
  'src/observe/planted.ts': `
import { Registry } from 'prom-client'
import { routes } from '../app.ts' // planted
import { env } from 'node:process' // planted
`,
  'src/http/planted.ts': `
import express from 'express'
import { create } from '../uploads/create.ts'
import type { Metrics } from '../observe/metrics.ts'
import { type Ledger, type Row } from '../ledger/ledger.ts'
import { metrics } from '../observe/metrics.ts' // planted
import { type Ledger as L, openLedger } from '../ledger/ledger.ts' // planted
import '../stores/local.ts' // planted
import type { Fake } from '../../test/support/fake.ts' // planted
`,
  'src/app.ts': `
import { download } from './http/download.ts'
import { metrics } from './observe/metrics.ts'
import type { Uploads } from './uploads/deps.ts'
import { create } from './uploads/create.ts' // planted
import type { Config } from './config/config.ts' // planted
import { openLedger } from './ledger/ledger.ts' // planted
import { startServer } from './server.ts' // planted
const level = process['env'].LOG_LEVEL // planted
`,
  'src/config/config.ts': `
import { z } from 'zod'
import { MAX_CELLS } from '../core/geometry.ts'
import { readJwtKey } from './jwt-key.ts'
import { localStore } from '../stores/local.ts' // planted
export const port = globalThis.process.env.PORT // planted
`,
  'src/process/chores.ts': `
import { createLocalStore } from '../stores/local.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import { createGate } from '../admission/gate.ts' // planted
import { startServer } from '../server.ts' // planted
`,
  'src/console/planted.ts': `
import Uppy from '@uppy/core'
import { createApi } from './api.ts'
import { createHash } from 'node:crypto' // planted
import type { Upload } from '../core/upload.ts' // planted
`,
  'src/cli/main.ts': `
import { run } from './program.ts'
const { env } = process
`,
  'src/cli/program.ts': `
import { Command } from 'commander'
import { migrateUp } from '../ledger/migrate.ts'
import { run } from './main.ts' // planted
import { routes } from '../app.ts' // planted
import { startServer } from '../server.ts' // planted
import type { Uploads } from '../uploads/deps.ts' // planted
const key = process.env.UPLOAD_API_KEY // planted
`,
  'src/server.ts': `
import { app } from './app.ts'
import { openLedger } from './ledger/ledger.ts'
import { emulator } from '../test/support/s3.ts' // planted
import { stop } from './main.ts' // planted
const port = process.env.PORT // planted
`,
  'src/main.ts': `
import { startServer } from './server.ts'
import { parseConfig } from './config/config.ts'
const config = process.env
import { emulator } from '../test/support/s3.ts' // planted
import { options } from '../scripts/load-test/options.ts' // planted
import { harness } from '../benchmarks/harness.ts' // planted
const plugin = await import(config.PLUGIN) // planted
`,
  'src/stray/planted.ts': `// planted: a part of src/ that the table does not know
import { planChunkSize } from '../core/geometry.ts'
`,
  'src/generated/client.ts': `
import { anything } from '../http/errors.ts'
`,
  'test/planted.test.ts': `
import { routes } from '../src/app.ts'
import { open } from '../src/uploads/open.ts'
const port = process.env.PORT
import { server } from '../src/main.ts' // planted
`,
  'scripts/planted.mjs': `
import { migrate } from '../src/ledger/migrate.ts'
const main = await import('../src/main.js') // planted
`,
}

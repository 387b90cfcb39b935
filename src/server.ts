import { randomUUID } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { createGate } from './admission/gate.ts'
import { createLeaseLocker } from './admission/lease-locker.ts'
import { createLocker } from './admission/locker.ts'
import { createGuessLimit, createRequestLimit } from './admission/rate-limits.ts'
import { createApp } from './app.ts'
import type { Config } from './config.ts'
import { unavailable } from './core/errors.ts'
import type { Body, ChunkStore, Leases, Meter, StorageNotes } from './core/ports.ts'
import { createAuthenticator } from './http/auth.ts'
import { openBody } from './http/body.ts'
import { answerMalformed } from './http/early.ts'
import type { OpenBody } from './http/exchange.ts'
import type { Cleanup } from './http/operations.ts'
import { claimDatabase, type Claim } from './ledger/claim.ts'
import { createLeases } from './ledger/leases.ts'
import { createLedger } from './ledger/ledger.ts'
import { migrateUp } from './ledger/migrate.ts'
import { openDb } from './ledger/open.ts'
import { logRequest } from './observe/log.ts'
import { createMetrics } from './observe/metrics.ts'
import { createLocalStore } from './stores/local.ts'
import { createS3Store } from './stores/s3/store.ts'
import { createUploads, type Uploads } from './uploads/use-cases.ts'

export interface RunningServer {
  url: string
  /** Takes no more, lets what runs end or commits what came of it, and closes everything. */
  close(): Promise<void>
}

/** about: processes that were started together shall not keep step */
const REAP_EVERY_MS = 60_000
/** how long an expired lease is left to those who may still believe in it */
const SWEEP_AFTER_MS = 60_000
/** how long a shutdown waits for a chore that is under way */
const CHORE_PATIENCE_MS = 2_000
/** between the end of bodies and that of connections, when a shutdown's grace is over */
const LAST_WORDS_MS = 2_000
/** what a process needs to end, beyond its grace */
const ENDING_MS = LAST_WORDS_MS + CHORE_PATIENCE_MS + 2_000
/** what all bodies may gather while nobody takes of them, and what each may in any case */
const GATHERED_BYTES = 32 * 1024 * 1024
const LEAST_GATHERED_BYTES = 64 * 1024
/** room for one URL of a part */
const CONCAT_URL_BYTES = 160

interface Program {
  log: Logger
  version: string
}

/** Builds the rooms of a process, wires them and listens. */
export async function startServer(config: Config, program: Program): Promise<RunningServer> {
  const claim = await claimDatabase(config.databaseUrl, {
    shared: config.leases,
    // After a restart the process before may be in the middle of its shutdown.
    patienceMs: config.shutdownGraceMs + ENDING_MS,
    onWait: (file) =>
      program.log.warn({ file }, 'another process works on the database; waiting for its end'),
  })
  try {
    return await build(config, program, claim)
  } catch (error) {
    claim.release()
    throw error
  }
}

async function build(config: Config, { log, version }: Program, claim: Claim): Promise<RunningServer> {
  const applied = await migrateUp(config.databaseUrl)
  if (applied.length > 0) log.info({ applied }, 'migrations applied')
  const db = await openDb(config.databaseUrl, {
    poolSize: config.databasePoolSize,
    statementTimeoutMs: config.databaseStatementTimeoutMs,
  })
  const ledger = createLedger(db)
  const leases = config.leases ? createLeases(db, `${hostname()} ${process.pid} ${randomUUID()}`) : null
  const inner = createLocker()
  const metrics = createMetrics()
  const store = openStore(config, ledger, metrics.meter)
  const gate = createGate(config, metrics.meter)
  metrics.watchLoad(gate.load)
  const uploads = createUploads({
    ledger,
    store,
    locker: leases ? createLeaseLocker({ leases, inner }) : inner,
    meter: metrics.meter,
    now: () => new Date(),
    limits: config,
  })

  let draining = false
  const bodies = trackBodies(config)
  const app = createApp({
    uploads,
    gate,
    identification: {
      authenticate: createAuthenticator(config),
      mayRequest: createRequestLimit(config.apiRateLimitPerMinute),
      mayGuess: createGuessLimit(config.authFailuresPerMinute),
      trustProxy: config.trustProxy,
      meter: metrics.meter,
    },
    adminUserIds: config.adminUserIds,
    openBody: bodies.open,
    tus: {
      maxUploadBytes: config.maxUploadBytes,
      maxConcatParts: config.maxConcatParts,
      publicBaseUrl: config.publicBaseUrl,
      trustProxy: config.trustProxy,
    },
    corsAllowedOrigins: config.corsAllowedOrigins,
    operations: {
      version,
      draining: () => draining,
      check: async () => {
        await Promise.all([ledger.check(), store.check()])
      },
      renderMetrics: metrics.render,
      cleanUp: () => chores.cleanUp(),
    },
    metricsToken: config.metricsToken,
    stallTimeoutMs: config.bodyIdleTimeoutMs,
    onRequest: (line) => {
      metrics.observeRequest(line.method, line.route, line.status, line.ms / 1000)
      logRequest(log, line)
    },
  })

  const server = createServer(
    {
      // A healthy slow upload may take hours: silence ends a body, not its length.
      requestTimeout: 0,
      headersTimeout: 30_000,
      keepAliveTimeout: 65_000,
      highWaterMark: 256 * 1024,
      // An Upload-Concat header names every part by its URL.
      maxHeaderSize: 16 * 1024 + config.maxConcatParts * CONCAT_URL_BYTES,
    },
    app,
  )
  // Without listeners node would send 100 Continue before we know whether we want the body, and answer
  // other expectations itself.
  server.on('checkContinue', app).on('checkExpectation', app)
  server.on('clientError', answerMalformed)
  await listen(server, config)
  const chores = startChores({ uploads, leases, log })

  return {
    url: urlOf(server, config.host),
    async close() {
      draining = true
      gate.stopWaiting(unavailable('The server is shutting down.'))
      const idle = chores.stop()
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeIdleConnections()
      const sweep = setInterval(() => server.closeIdleConnections(), 100)
      const grace = setTimeout(() => {
        bodies.stopAll()
        setTimeout(() => server.closeAllConnections(), LAST_WORDS_MS).unref()
      }, config.shutdownGraceMs)
      await closed
      clearInterval(sweep)
      clearTimeout(grace)
      await idle
      await ledger.close()
      claim.release()
    },
  }
}

function openStore({ storage }: Config, notes: StorageNotes, meter: Meter): ChunkStore {
  if (storage.backend === 'local') return createLocalStore(storage.root)
  return createS3Store({ ...storage, name: storage.backend }, { notes, meter })
}

const listen = (server: Server, { host, port }: Config) =>
  new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })

function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/**
 * Every open body, so that a shutdown can end those that outlast its grace, and so that many of them gather
 * no more together than a few.
 */
function trackBodies({ bodyIdleTimeoutMs }: Config): { open: OpenBody; stopAll(): void } {
  const open = new Set<Body>()
  const shareBytes = () => Math.max(LEAST_GATHERED_BYTES, GATHERED_BYTES / open.size)
  return {
    open({ req, res }) {
      const body = openBody(req, res, { idleTimeoutMs: bodyIdleTimeoutMs, shareBytes })
      open.add(body)
      res.once('close', () => open.delete(body))
      return body
    },
    stopAll() {
      for (const body of open) body.stop(unavailable('The server is shutting down.'))
    },
  }
}

interface Chores {
  /** Reaps once what runs already is over. */
  cleanUp(): Promise<Cleanup>
  stop(): Promise<void>
}

interface ChoreParts {
  uploads: Uploads
  leases: Leases | null
  log: Logger
}

/** What is done beside requests: finishing what a crash left, and reaping, one run at a time. */
function startChores({ uploads, leases, log }: ChoreParts): Chores {
  const stopping = new AbortController()
  const reap = async (): Promise<Cleanup> => {
    let failedUploads = 0
    const reaped = await uploads.reap((error, id) => {
      failedUploads += 1
      log.error({ err: error, upload_id: id }, 'an expired upload could not be removed')
    }, stopping.signal)
    if (reaped.expiredUploads + reaped.removedUploads > 0) log.info(reaped, 'reaped')
    return { ...reaped, failedUploads }
  }
  let reaping: Promise<unknown> = Promise.resolve()
  // Two at once would count the same upload twice.
  const cleanUp = (): Promise<Cleanup> => {
    const next = reaping.then(reap)
    reaping = next.catch(() => {})
    return next
  }
  const run = async (): Promise<void> => {
    try {
      await uploads.resumeFinalizing(
        (error, id) => log.error({ err: error, upload_id: id }, 'an upload could not be completed'),
        stopping.signal,
      )
      await cleanUp()
      await leases?.sweep({ ms: SWEEP_AFTER_MS })
    } catch (error) {
      log.error({ err: error }, 'the reaper could not run')
    }
  }
  let timer: NodeJS.Timeout | undefined
  const loop = async (): Promise<void> => {
    await run()
    if (stopping.signal.aborted) return
    timer = setTimeout(
      () => {
        running = loop()
      },
      REAP_EVERY_MS * (0.75 + Math.random() / 2),
    )
  }
  let running = loop()
  return {
    cleanUp,
    async stop() {
      clearTimeout(timer)
      stopping.abort()
      // What is being copied goes on after the next start as well.
      const over = Promise.all([running, reaping])
      await Promise.race([over, sleep(CHORE_PATIENCE_MS, undefined, { ref: false })])
    },
  }
}

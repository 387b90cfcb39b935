import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { createGate } from './admission/gate.ts'
import { createLocker } from './admission/locker.ts'
import { createApp } from './app.ts'
import type { Config } from './config.ts'
import { unavailable } from './core/errors.ts'
import type { Body } from './core/ports.ts'
import { createAuthenticator } from './http/auth.ts'
import { openBody } from './http/body.ts'
import type { OpenBody } from './http/exchange.ts'
import { createLedger } from './ledger/ledger.ts'
import { migrateUp } from './ledger/migrate.ts'
import { openDb } from './ledger/open.ts'
import { logRequest } from './observe/log.ts'
import { createMetrics } from './observe/metrics.ts'
import { createLocalStore } from './stores/local.ts'
import { createUploads, type Uploads } from './uploads/use-cases.ts'

export interface RunningServer {
  url: string
  /** Takes no more, lets what runs end or commits what came of it, and closes everything. */
  close(): Promise<void>
}

const REAP_EVERY_MS = 60_000
/** how long a shutdown waits for a chore that is under way */
const CHORE_PATIENCE_MS = 2_000
/** room for one URL of a part */
const CONCAT_URL_BYTES = 160

/** Builds the rooms of a process, wires them and listens. */
export async function startServer(
  config: Config,
  { log, version }: { log: Logger; version: string },
): Promise<RunningServer> {
  const applied = await migrateUp(config.databaseUrl)
  if (applied.length > 0) log.info({ applied }, 'migrations applied')
  const ledger = createLedger(
    await openDb(config.databaseUrl, {
      poolSize: config.databasePoolSize,
      statementTimeoutMs: config.databaseStatementTimeoutMs,
    }),
    config,
  )
  await ledger.forgetUsage()
  const store = createLocalStore(config.storageRoot)
  const metrics = createMetrics()
  const gate = createGate(config, metrics.meter)
  metrics.watchLoad(gate.load)
  const uploads = createUploads({
    ledger,
    store,
    locker: createLocker(),
    meter: metrics.meter,
    now: () => new Date(),
    limits: config,
  })

  let draining = false
  const bodies = trackBodies(config)
  const app = createApp({
    uploads,
    gate,
    authenticate: createAuthenticator(config.apiKeys),
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
  // Without a listener node would send 100 Continue before we know whether we want the body.
  server.on('checkContinue', app)
  await listen(server, config)
  const chores = startChores(uploads, log)

  return {
    url: urlOf(server, config.host),
    async close() {
      draining = true
      const idle = chores.stop()
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeIdleConnections()
      const sweep = setInterval(() => server.closeIdleConnections(), 100)
      const grace = setTimeout(() => {
        bodies.stopAll()
        setTimeout(() => server.closeAllConnections(), 2_000).unref()
      }, config.shutdownGraceMs)
      await closed
      clearInterval(sweep)
      clearTimeout(grace)
      await idle
      await ledger.close()
    },
  }
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

/** Every open body, so that a shutdown can end those that outlast its grace. */
function trackBodies({ bodyIdleTimeoutMs }: Config): { open: OpenBody; stopAll(): void } {
  const open = new Set<Body>()
  return {
    open({ req, res }) {
      const body = openBody(req, res, { idleTimeoutMs: bodyIdleTimeoutMs })
      open.add(body)
      res.once('close', () => open.delete(body))
      return body
    },
    stopAll() {
      for (const body of open) body.stop(unavailable('The server is shutting down.'))
    },
  }
}

/** What is done beside requests: finishing what a crash left, and reaping, one run at a time. */
function startChores(uploads: Uploads, log: Logger): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const run = async (): Promise<void> => {
    try {
      await uploads.resumeFinalizing(
        (error, id) => log.error({ err: error, upload_id: id }, 'an upload could not be completed'),
        stopping.signal,
      )
      const reaped = await uploads.reap(
        (error, id) => log.error({ err: error, upload_id: id }, 'an expired upload could not be removed'),
        stopping.signal,
      )
      if (reaped.expiredUploads + reaped.removedUploads > 0) log.info(reaped, 'reaped')
      await uploads.forgetKeys(stopping.signal)
    } catch (error) {
      log.error({ err: error }, 'the reaper could not run')
    }
  }
  let running = run()
  const timer = setInterval(() => {
    running = running.then(run)
  }, REAP_EVERY_MS)
  return {
    async stop() {
      clearInterval(timer)
      stopping.abort()
      // What is being copied goes on after the next start as well.
      await Promise.race([running, sleep(CHORE_PATIENCE_MS, undefined, { ref: false })])
    },
  }
}

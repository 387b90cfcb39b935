import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { createGate } from './admission/gate.ts'
import { createLeaseLocker } from './admission/lease-locker.ts'
import { createLocker } from './admission/locker.ts'
import { createGuessLimit, createRequestLimit } from './admission/rate-limits.ts'
import { createApp } from './app.ts'
import type { Config } from './config/config.ts'
import { unavailable } from './core/errors.ts'
import { createExpiryClock } from './core/expiry-clock.ts'
import { createHashing } from './hashing/hashing.ts'
import { createAuthenticator } from './http/auth.ts'
import { peerAddress } from './http/client-address.ts'
import type { Exchange } from './http/exchange.ts'
import { readConsole } from './http/console.ts'
import { createEventStreams } from './http/event-stream.ts'
import { watchHandedBack } from './http/idle-connections.ts'
import { createSigner } from './http/signer.ts'
import { signingKeys } from './http/signing-keys.ts'
import { tokenReader } from './http/upload-tokens.ts'
import type { Claim } from './ledger/claim.ts'
import { createDeliveries } from './ledger/deliveries.ts'
import { createLeases } from './ledger/leases.ts'
import { migrateUp } from './ledger/migrate.ts'
import { openLedger } from './ledger/open-ledger.ts'
import { providerOf } from './ledger/url.ts'
import { createAudit } from './observe/audit.ts'
import { logRequest } from './observe/log.ts'
import { createMetrics } from './observe/metrics.ts'
import type { Tracing } from './observe/tracing.ts'
import { watchedPorts } from './observe/watched-ports.ts'
import { trackBodies } from './process/bodies.ts'
import { CHORE_PATIENCE_MS, startChores } from './process/chores.ts'
import { claimFor } from './process/claim-for.ts'
import { createHttpServer, listen, urlOf } from './process/http-server.ts'
import type { Pool } from './process/pool-worker.ts'
import { forceFolders, openStore } from './process/storage.ts'
import { startWebhooks } from './process/webhooks.ts'
import { heldBack } from './stores/held-back.ts'
import { createUploads } from './uploads/use-cases.ts'

export interface RunningServer {
  url: string
  /** Takes no more, lets what runs end or commits what came of it, and closes everything. */
  close(): Promise<void>
}

/** how long, of its grace, a shutdown leaves bodies that it ended to commit what they brought, and to answer */
const COMMIT_PATIENCE_MS = 2_000
/** how long a collector of traces may take, where the grace is used up */
const FLUSH_PATIENCE_MS = 1_000

interface Program {
  log: Logger
  version: string
  /** the folder of the web console as it was built; the server does without where it is empty */
  consoleFolder: string
  /** the other processes that serve the same port; null where this one serves it alone */
  pool?: Pool | null
}

/** Builds the rooms of a process, wires them and listens. */
export async function startServer(config: Config, program: Program): Promise<RunningServer> {
  const claim = await claimFor(config, program.log)
  try {
    return await build(config, program, claim)
  } catch (error) {
    claim.release()
    throw error
  }
}

/** Nothing of it is loaded where nobody wants traces. */
async function openTracing(
  { tracing }: Config,
  program: Pick<Program, 'log' | 'version'>,
): Promise<Tracing | null> {
  if (!tracing) return null
  const { traceByOtlp } = await import('./observe/otlp.ts')
  return traceByOtlp({ ...tracing, ...program })
}

async function build(
  config: Config,
  { log, version, consoleFolder, pool = null }: Program,
  claim: Claim,
): Promise<RunningServer> {
  const applied = await migrateUp(config.databaseUrl)
  if (applied.length > 0) log.info({ applied }, 'migrations applied')
  const { db, ledger, isFull } = await openLedger(config)
  const deliveries = createDeliveries(db)
  const leases = config.leases ? createLeases(db, `${hostname()} ${process.pid} ${randomUUID()}`) : null
  const inner = createLocker()
  const metrics = createMetrics()
  const tracing = await openTracing(config, { log, version })
  const store = heldBack(await openStore(config, ledger, metrics.meter, tracing?.outgoing), isFull)
  metrics.watchBuild({ version, store: store.name, database: providerOf(config.databaseUrl) })
  if (config.durability === 'disk') await forceFolders(config)
  const gate = createGate(config, metrics.meter)
  metrics.watchLoad(gate.load)
  const audit = config.auditLog
    ? createAudit<Exchange>(log, ({ req }) => peerAddress(req, config.trustProxy))
    : null
  const ports = watchedPorts(
    { gate, ledger, store, locker: leases ? createLeaseLocker({ leases, inner }) : inner },
    { metrics, tracing, audit },
  )
  if (store.freeBytes) metrics.watchDisk(store.freeBytes)
  const uploads = createUploads({
    ledger: ports.ledger,
    store: ports.store,
    locker: ports.locker,
    meter: metrics.meter,
    openHash: createHashing(),
    now: () => new Date(),
    expiryNow: createExpiryClock(
      { wallMs: () => Date.now(), steadyMs: () => performance.now() },
      config.uploadTtlMs,
    ),
    limits: config,
  })

  const links = {
    signer: createSigner(signingKeys(config.linkKeys, ledger)),
    now: () => new Date(),
    linkDefaultSeconds: config.linkDefaultSeconds,
    linkMaxSeconds: config.linkMaxSeconds,
  }

  const eventStreams = createEventStreams(metrics.meter)
  let draining = false
  const bodies = trackBodies(config, (way) => metrics.meter.bodyOpened(way))
  const app = createApp({
    uploads,
    gate: ports.gate,
    identification: {
      authenticate: createAuthenticator(config),
      readUploadToken: tokenReader(uploads, links),
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
    links,
    corsAllowedOrigins: config.corsAllowedOrigins,
    operations: {
      version,
      draining: () => draining,
      check: async () => {
        await Promise.all([ledger.check(), store.check()])
      },
      renderMetrics: pool ? async () => metrics.renderTogether(await pool.gatherMetrics()) : metrics.render,
      cleanUp: () => chores.cleanUp(),
    },
    deadLetters: deliveries,
    metricsToken: config.metricsToken,
    limits: config,
    load: gate.load,
    eventStreams,
    console: await readConsole(consoleFolder),
    stallTimeoutMs: config.bodyIdleTimeoutMs,
    openTrace: tracing?.open ?? null,
    onWork: audit?.open ?? null,
    onRequest: (line, exchange) => {
      metrics.observeRequest(line)
      logRequest(log, line)
      audit?.over(line, exchange)
    },
  })

  const server = createHttpServer(app, config)
  const handedBack = watchHandedBack(server)
  bodies.onHandBack(handedBack.add)
  pool?.answerMetrics(metrics.snapshot)
  await listen(server, config)
  // Out of file handles, say. The next connection may find one.
  server.on('error', (error) => log.error({ err: error }, 'a connection could not be accepted'))
  const chores = startChores({ uploads, leases, log, reapIntervalMs: config.reapIntervalMs })

  const { webhooks } = config
  const telling = webhooks && startWebhooks({ webhooks, deliveries, metrics: metrics.webhooks, log, version })

  return {
    url: urlOf(server, config.host),
    async close() {
      draining = true
      const closesAt = performance.now() + config.shutdownGraceMs
      eventStreams.close()
      const emptied = gate.close(unavailable('The server is shutting down.'))
      const idle = chores.stop()
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeIdleConnections()
      const sweep = setInterval(() => {
        server.closeIdleConnections()
        handedBack.close()
      }, 100)
      const { shutdownGraceMs: graceMs } = config
      const bodiesEndMs = graceMs - Math.min(graceMs / 2, COMMIT_PATIENCE_MS)
      const bodiesEnd = setTimeout(bodies.stopAll, bodiesEndMs)
      const told = telling?.stop(bodiesEndMs)
      const connectionsEnd = setTimeout(() => server.closeAllConnections(), graceMs)
      await closed
      clearInterval(sweep)
      clearTimeout(bodiesEnd)
      clearTimeout(connectionsEnd)
      await Promise.all([idle, told])
      // What a body brought may still be on its way into the ledger when its connection is gone.
      await Promise.race([emptied, sleep(CHORE_PATIENCE_MS, undefined, { ref: false })])
      await ledger.close()
      await tracing?.close(Math.max(FLUSH_PATIENCE_MS, closesAt - performance.now()))
      claim.release()
    },
  }
}

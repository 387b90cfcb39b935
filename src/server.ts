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
import { createAuthenticator } from './http/auth.ts'
import { watchHandedBack } from './http/idle-connections.ts'
import { claimDatabase, type Claim } from './ledger/claim.ts'
import { createLeases } from './ledger/leases.ts'
import { migrateUp } from './ledger/migrate.ts'
import { openLedger } from './ledger/open-ledger.ts'
import { logRequest } from './observe/log.ts'
import { createMetrics } from './observe/metrics.ts'
import { trackBodies } from './process/bodies.ts'
import { CHORE_PATIENCE_MS, startChores } from './process/chores.ts'
import { createHttpServer, listen, urlOf } from './process/http-server.ts'
import { forceFolders, openStore } from './process/storage.ts'
import { heldBack } from './stores/held-back.ts'
import { createUploads } from './uploads/use-cases.ts'

export interface RunningServer {
  url: string
  /** Takes no more, lets what runs end or commits what came of it, and closes everything. */
  close(): Promise<void>
}

/** how long, of its grace, a shutdown leaves bodies that it ended to commit what they brought, and to answer */
const COMMIT_PATIENCE_MS = 2_000
/** what a process needs to end, beyond its grace; by then one that hangs has ended itself */
const ENDING_MS = 6_000

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
  const { db, ledger, isFull } = await openLedger(config)
  const leases = config.leases ? createLeases(db, `${hostname()} ${process.pid} ${randomUUID()}`) : null
  const inner = createLocker()
  const metrics = createMetrics()
  const store = heldBack(openStore(config, ledger, metrics.meter), isFull)
  if (config.durability === 'disk') await forceFolders(config)
  const gate = createGate(config, metrics.meter)
  metrics.watchLoad(gate.load)
  if (store.freeBytes) metrics.watchDisk(store.freeBytes)
  const uploads = createUploads({
    ledger,
    store,
    locker: leases ? createLeaseLocker({ leases, inner }) : inner,
    meter: metrics.meter,
    now: () => new Date(),
    expiryNow: createExpiryClock(
      { wallMs: () => Date.now(), steadyMs: () => performance.now() },
      config.uploadTtlMs,
    ),
    limits: config,
  })

  let draining = false
  const bodies = trackBodies(config, (way) => metrics.meter.bodyOpened(way))
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

  const server = createHttpServer(app, config)
  const handedBack = watchHandedBack(server)
  bodies.onHandBack(handedBack.add)
  await listen(server, config)
  // Out of file handles, say. The next connection may find one.
  server.on('error', (error) => log.error({ err: error }, 'a connection could not be accepted'))
  const chores = startChores({ uploads, leases, log, reapIntervalMs: config.reapIntervalMs })

  return {
    url: urlOf(server, config.host),
    async close() {
      draining = true
      const emptied = gate.close(unavailable('The server is shutting down.'))
      const idle = chores.stop()
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeIdleConnections()
      const sweep = setInterval(() => {
        server.closeIdleConnections()
        handedBack.close()
      }, 100)
      const { shutdownGraceMs: graceMs } = config
      const bodiesEnd = setTimeout(bodies.stopAll, graceMs - Math.min(graceMs / 2, COMMIT_PATIENCE_MS))
      const connectionsEnd = setTimeout(() => server.closeAllConnections(), graceMs)
      await closed
      clearInterval(sweep)
      clearTimeout(bodiesEnd)
      clearTimeout(connectionsEnd)
      await idle
      // What a body brought may still be on its way into the ledger when its connection is gone.
      await Promise.race([emptied, sleep(CHORE_PATIENCE_MS, undefined, { ref: false })])
      await ledger.close()
      claim.release()
    },
  }
}

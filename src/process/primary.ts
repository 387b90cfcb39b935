import cluster, { type Worker } from 'node:cluster'
import { createServer, type AddressInfo } from 'node:net'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { migrateUp } from '../ledger/migrate.ts'
import { claimFor } from './claim-for.ts'
import type { FromPrimary, FromWorker } from './pool-messages.ts'
import { createPoolMetrics, type Counting, type PoolMetricsParts } from './pool-metrics.ts'
import { createRestarts } from './restarts.ts'
import { closeUndelivered } from './undelivered.ts'

export interface PrimaryParts {
  config: Config
  log: Logger
  mergeCounts: PoolMetricsParts['mergeCounts']
  /** after the end of its grace, when a worker should have ended itself */
  hangsAfterMs: number
  /** called once, when all workers are up */
  onUp(url: string): void
}

/** within which a signal that comes again is the same one, by another way */
const SAME_SIGNAL_MS = 1_000

/** A worker, from its start to its end. */
interface Member extends Counting {
  worker: Worker
  /** null until it serves */
  upSince: number | null
}

/**
 * The first process of several: it owns the port, hands its connections to the workers in turn, and keeps
 * their number. It serves nothing itself, so there is little that could end it.
 * @returns the code to exit with, once every worker has ended
 */
export async function runPrimary(parts: PrimaryParts): Promise<number> {
  const { config, log } = parts
  const claim = await claimFor(config, log)
  try {
    const applied = await migrateUp(config.databaseUrl)
    if (applied.length > 0) log.info({ applied }, 'migrations applied')
    return await supervise(parts, await findPort(config))
  } finally {
    claim.release()
  }
}

function supervise(
  { config, log, mergeCounts, hangsAfterMs, onUp }: PrimaryParts,
  port: number,
): Promise<number> {
  const { promise: over, resolve: end } = defer<number>()
  const members = new Set<Member>()
  const pauses = new Set<NodeJS.Timeout>()
  const restarts = createRestarts(config.webConcurrency)
  const metrics = createPoolMetrics({ workers: () => members, mergeCounts })
  const upCount = () => [...members].filter(({ upSince }) => upSince !== null).length
  let stopping = false
  let toldAt = Infinity
  let greeted = false
  let code = 0

  const start = (): void => {
    const worker = cluster.fork({ PORT: String(port) })
    const member: Member = { worker, upSince: null, tell: (message) => tell(worker, message) }
    members.add(member)
    closeUndelivered(worker)
    worker.on('message', (message: FromWorker) => hear(member, message))
    worker.once('exit', (exitCode, signal) => leave(member, exitCode, signal))
    // One that could not even be started has no exit.
    worker.on('error', (error) => {
      log.error({ err: error }, 'a worker could not be started or told something')
      if (worker.process.pid === undefined) leave(member, 1, null)
    })
  }

  const hear = (member: Member, message: FromWorker): void => {
    if (message.type === 'metrics-told') metrics.told(member, message.round, message.snapshot)
    if (message.type === 'metrics-wanted')
      void metrics.gather().then((snapshots) => member.tell({ type: 'metrics-all', snapshots }))
    if (message.type !== 'up') return
    member.upSince = performance.now()
    restarts.gotUp()
    if (greeted || upCount() < config.webConcurrency) return
    greeted = true
    onUp(message.url)
  }

  const leave = (member: Member, exitCode: number | null, signal: string | null): void => {
    if (!members.delete(member)) return
    metrics.left(member)
    if (!stopping) replace(member, exitCode, signal)
    // One that had not got up yet is ended by the signal itself.
    else if (member.upSince !== null && exitCode !== 0) code = 1
    if (stopping && members.size === 0) end(code)
  }

  const replace = ({ worker, upSince }: Member, exitCode: number | null, signal: string | null): void => {
    const verdict = restarts.died(upSince === null ? null : performance.now() - upSince, upCount() > 0)
    const fields = { worker: worker.process.pid, code: exitCode, signal }
    if (verdict.giveUp) {
      log.fatal(fields, 'no worker gets up; giving up')
      code = 1
      stop()
      return
    }
    const level = exitCode === 0 ? 'info' : 'error'
    log[level]({ ...fields, again_in_ms: verdict.pauseMs }, 'a worker has ended; another takes its place')
    const pause = setTimeout(() => {
      pauses.delete(pause)
      start()
    }, verdict.pauseMs)
    pauses.add(pause)
  }

  const kill = (signal: NodeJS.Signals): void => {
    for (const { worker } of members) worker.process.kill(signal)
  }
  const stop = (): void => {
    stopping = true
    for (const pause of pauses) clearTimeout(pause)
    kill('SIGTERM')
    setTimeout(() => {
      log.fatal('the shutdown hangs')
      code = 1
      kill('SIGKILL')
    }, config.shutdownGraceMs + hangsAfterMs).unref()
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      if (stopping) {
        // Who asks again does not want to wait; but npm passes on what its terminal has told everybody already.
        if (performance.now() - toldAt > SAME_SIGNAL_MS) kill('SIGKILL')
        return
      }
      log.info({ signal }, 'shutting down')
      toldAt = performance.now()
      stop()
      if (members.size === 0) end(code)
    })

  for (let i = 0; i < config.webConcurrency; i++) start()
  return over
}

function tell(worker: Worker, message: FromPrimary): boolean {
  if (!worker.isConnected()) return false
  // It may be dying: then its end is told elsewhere.
  worker.send(message, () => {})
  return true
}

/**
 * The port that all workers, also later ones, will have. That it is taken is known before any of them starts.
 * @throws when nobody can listen there
 */
const findPort = ({ host, port }: Config): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(port, host, () => {
      const { port: found } = probe.address() as AddressInfo
      probe.close(() => resolve(found))
    })
  })

function defer<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

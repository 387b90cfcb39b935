import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ConfigError, parseConfig, type Config } from './config/config.ts'
import { shownUrl } from './ledger/url.ts'
import { createLog } from './observe/log.ts'
import type { Pool } from './process/pool-worker.ts'

if (existsSync('.env')) process.loadEnvFile('.env')

/** beyond its grace: a disk that does not answer must not keep the process for ever */
const HANGS_AFTER_MS = 5_000
/** what a worker that hangs has to end itself, before it is ended */
const LAST_WORDS_MS = 1_000

const config = readConfig()
const several = config.webConcurrency > 1
const plainLog = createLog(config.logLevel)
// Several write to one log: each says which it is.
const log = several ? plainLog.child({ pid: process.pid }) : plainLog
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string
}
/** Beside the built program, or where the build puts it when the program runs from its sources. */
const consoleFolder = fileURLToPath(new URL('../dist/console/', import.meta.url))

try {
  // One process alone loads nothing of what several need, and the first of several nothing of the server.
  const pool = several ? await enterPool() : null
  if (pool !== 'first') await serve(config, pool)
} catch (error) {
  log.fatal({ err: error }, 'the server could not start')
  end(1)
}

function end(code: number): void {
  log.flush(() => process.exit(code))
}

/** @returns 'first' when this was the first process and all is over; else what a worker knows of the others */
async function enterPool(): Promise<Pool | 'first'> {
  const { default: cluster } = await import('node:cluster')
  if (cluster.isWorker) {
    const { joinPool } = await import('./process/pool-worker.ts')
    return joinPool()
  }
  warnOfKeys()
  const { runPrimary } = await import('./process/primary.ts')
  const { mergeCounts } = await import('./observe/joined-metrics.ts')
  const hangsAfterMs = HANGS_AFTER_MS + LAST_WORDS_MS
  const code = await runPrimary({ config, log, mergeCounts, hangsAfterMs, onUp: (url) => greet(config, url) })
  log.info('bye')
  end(code)
  return 'first'
}

async function serve(whole: Config, pool: Pool | null): Promise<void> {
  if (!pool) warnOfKeys()
  const { startServer } = await import('./server.ts')
  const server = await startServer(pool ? await shareFor(whole) : whole, {
    log,
    version,
    consoleFolder,
    pool,
  })
  const stop = async (signal: string): Promise<void> => {
    log.info({ signal }, 'shutting down')
    const late = setTimeout(() => {
      log.fatal('the shutdown hangs')
      end(1)
    }, whole.shutdownGraceMs + HANGS_AFTER_MS)
    try {
      await server.close()
      clearTimeout(late)
      log.info('bye')
      end(0)
    } catch (error) {
      log.fatal({ err: error }, 'the server could not shut down')
      end(1)
    }
  }
  const signals = ['SIGTERM', 'SIGINT'] as const
  if (!pool) {
    for (const signal of signals) process.once(signal, () => void stop(signal))
    greet(whole, server.url)
    return
  }
  let stopping = false
  const stopOnce = (why: string): void => {
    if (stopping) return
    stopping = true
    void stop(why)
  }
  // A terminal, or systemd, signals all of them, and the first process passes it on besides.
  for (const signal of signals) process.on(signal, () => stopOnce(signal))
  pool.onOrphaned(() => stopOnce('the first process is gone'))
  pool.tellUp(server.url)
}

/** What one of several takes of what was set for all of them. */
async function shareFor(whole: Config): Promise<Config> {
  const { shareOf } = await import('./config/share.ts')
  return shareOf(whole)
}

function warnOfKeys(): void {
  if (config.developmentKeys)
    log.warn(
      'API_KEY_MAPPINGS is not set: anybody who knows the key "dev-key" is "dev-user". Not for production.',
    )
}

function readConfig(): Config {
  try {
    return parseConfig(process.env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write(`${error.message}\n`)
    process.exit(78) // EX_CONFIG of sysexits.h
  }
}

/** For the person at the terminal; everything after it is log lines. */
function greet(config: Config, url: string): void {
  const { databaseUrl, storage, authMode, apiKeys, developmentKeys } = config
  const key = developmentKeys ? [...apiKeys.keys()][0] : 'YOUR_KEY'
  const credentials = authMode === 'jwt' ? 'Authorization: Bearer YOUR_TOKEN' : `X-API-Key: ${key}`
  process.stdout.write(
    [
      `Upload server ${version} on ${url}`,
      `  store     ${placeOf(storage)}`,
      `  database  ${shownUrl(databaseUrl)}`,
      'Try it:',
      `  curl -i -H '${credentials}' -H 'Tus-Resumable: 1.0.0' -H 'Upload-Length: 5' -H 'Content-Type: application/offset+octet-stream' --data-binary hello ${url}/files`,
      '',
    ].join('\n'),
  )
}

function placeOf(storage: Config['storage']): string {
  if (storage.backend === 'local') return `local disk, ${storage.root}`
  const { backend, bucket, keyPrefix, endpoint, region } = storage
  return `${backend === 'r2' ? 'R2' : 'S3'}, ${bucket}/${keyPrefix} at ${endpoint ?? region}`
}

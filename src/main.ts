import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ConfigError, parseConfig, type Config } from './config/config.ts'
import { shownUrl } from './ledger/url.ts'
import { createLog } from './observe/log.ts'
import { startServer } from './server.ts'

if (existsSync('.env')) process.loadEnvFile('.env')

/** beyond its grace: a disk that does not answer must not keep the process for ever */
const HANGS_AFTER_MS = 5_000

const config = readConfig()
const log = createLog(config.logLevel)
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string
}
/** Beside the built program, or where the build puts it when the program runs from its sources. */
const consoleFolder = fileURLToPath(new URL('../dist/console/', import.meta.url))

if (config.developmentKeys)
  log.warn(
    'API_KEY_MAPPINGS is not set: anybody who knows the key "dev-key" is "dev-user". Not for production.',
  )

try {
  const server = await startServer(config, { log, version, consoleFolder })
  const end = (code: number) => log.flush(() => process.exit(code))
  const stop = async (signal: string): Promise<void> => {
    log.info({ signal }, 'shutting down')
    const late = setTimeout(() => {
      log.fatal('the shutdown hangs')
      end(1)
    }, config.shutdownGraceMs + HANGS_AFTER_MS)
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
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void stop(signal))
  greet(config, server.url)
} catch (error) {
  log.fatal({ err: error }, 'the server could not start')
  log.flush(() => process.exit(1))
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

import { createServer } from 'node:net'
import { type Config, ConfigError, parseConfig } from '../../config/config.ts'
import { failed, ok, warning, type Check } from './finding.ts'
import { databaseChecks } from './local-database.ts'
import { storageChecks } from './local-storage.ts'

type Env = Readonly<Record<string, string | undefined>>

const LEAST_NODE = [20, 19] as const

/** What the server needs of this machine: what it would find if it were started here and now. */
export function localChecks(env: Env, nodeVersion: string): Check[] {
  const checks: Check[] = [['Node.js', () => judgeNode(nodeVersion)]]
  try {
    const config = parseConfig(env)
    return [
      ...checks,
      ['configuration', () => ok('every variable makes sense')],
      ['keys', () => judgeKeys(config)],
      ...databaseChecks(config),
      ...storageChecks(config),
      ['port', () => judgePort(config)],
    ]
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const { message } = error
    return [
      ...checks,
      [
        'configuration',
        () =>
          failed(
            message.replaceAll('\n', '; '),
            'Set these in the environment or in .env, as the README says.',
          ),
      ],
    ]
  }
}

function judgeNode(version: string) {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [leastMajor, leastMinor] = LEAST_NODE
  return major > leastMajor || (major === leastMajor && minor >= leastMinor)
    ? ok(version)
    : failed(version, `Install Node.js ${LEAST_NODE.join('.')} or later.`)
}

function judgeKeys({ developmentKeys, apiKeys, authMode }: Config) {
  if (developmentKeys)
    return warning(
      'the development key "dev-key" is taken',
      'Set API_KEY_MAPPINGS before anybody else can reach it.',
    )
  return ok(authMode === 'jwt' ? 'tokens only' : `${apiKeys.size} keys, ${authMode}`)
}

/** Whoever listens there may be the server itself, so that is no failure. */
function judgePort({ host, port }: Config): Promise<ReturnType<typeof ok>> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => {
      const place = `${host}:${port}`
      if (error.code === 'EADDRINUSE')
        resolve(
          warning(
            `${place} is taken`,
            'Fine while the server runs; else stop what listens there, or set PORT.',
          ),
        )
      else if (error.code === 'EACCES')
        resolve(
          failed(`${place} is not allowed`, 'Ports under 1024 need rights: set PORT higher, behind a proxy.'),
        )
      else resolve(failed(`${place}: ${error.message}`, 'Set HOST to an address of this machine.'))
    })
    server.listen(port, host, () => server.close(() => resolve(ok(`${host}:${port} is free`))))
  })
}

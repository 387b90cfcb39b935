import { connect } from '../client/connection.ts'
import { examine } from '../doctor/finding.ts'
import { report } from '../doctor/report.ts'
import { EXIT, Failure } from '../failure.ts'
import type { Terminal } from '../terminal/output.ts'
import { keyOf, urlOf } from './client.ts'

export interface DoctorOptions {
  url?: string
  apiKey?: string
  origin?: string
  deep?: boolean
  json?: boolean
}

const SOCKETS = 4

/** Without --url what is here, with it what its clients meet. UPLOAD_URL does not count: here is not there. */
export async function doctor(terminal: Terminal, options: DoctorOptions): Promise<number> {
  const { env, signal } = terminal
  const json = options.json ?? false
  if (options.url === undefined) {
    if (options.deep || options.origin !== undefined)
      throw new Failure('--deep and --origin go with --url', { exitCode: EXIT.usage })
    const { localChecks } = await import('../doctor/local.ts')
    return report(terminal, examine(localChecks(env, process.versions.node), signal), json)
  }
  const { remoteChecks } = await import('../doctor/remote.ts')
  const url = urlOf(options, env)
  const apiKey = keyOf(options, env)
  const connection = connect({ url, apiKey, sockets: SOCKETS, signal })
  const stranger = connect({ url, apiKey: null, sockets: SOCKETS, signal })
  const { checks, cleanUp } = remoteChecks({
    url,
    send: connection.send,
    sendWithoutKey: stranger.send,
    hasKey: apiKey !== null,
    origin: options.origin ?? null,
    deep: options.deep ?? false,
  })
  try {
    return await report(terminal, examine(checks, signal), json)
  } finally {
    await cleanUp()
    connection.close()
    stranger.close()
  }
}

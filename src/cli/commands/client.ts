import { connect, type Connection } from '../client/connection.ts'
import type { Persistence } from '../client/persist.ts'
import { EXIT, Failure } from '../failure.ts'
import type { Terminal } from '../terminal/output.ts'
import { plain } from '../terminal/words.ts'
import { loudnessOf, showProgress, type Progress } from '../terminal/progress.ts'

/** Options of every command that talks to a server. */
export interface ServerOptions {
  url?: string
  apiKey?: string
  json?: boolean
  quiet?: boolean
  /** seconds */
  retryFor?: number
}

const DEFAULT_URL = 'http://127.0.0.1:8000'
const DEFAULT_RETRY_SECONDS = 300

export interface Session {
  connection: Connection
  apiKey: string | null
  progress: Progress
  persistence: Omit<Persistence, 'onWait'>
  /** for what no bar tells */
  patiently: Persistence
  /** One result on stdout: an object with --json, else its line. */
  tell(result: Readonly<Record<string, unknown>>, line: string): void
  close(): void
}

/** @throws {Failure} for a URL that is none */
export function urlOf(options: Pick<ServerOptions, 'url'>, env: Terminal['env']): string {
  const given = options.url ?? (env['UPLOAD_URL'] || DEFAULT_URL)
  if (!/^https?:\/\/[^\s?#]+$/.test(given) || !URL.canParse(given))
    throw new Failure(`The URL of the server must be an http(s) URL, not ${JSON.stringify(given)}`, {
      exitCode: EXIT.usage,
    })
  return given.replace(/\/+$/, '')
}

export const keyOf = (options: Pick<ServerOptions, 'apiKey'>, env: Terminal['env']): string | null =>
  options.apiKey ?? (env['UPLOAD_API_KEY'] || null)

export function openSession(terminal: Terminal, options: ServerOptions, sockets = 4): Session {
  const { env, stdout, stderr, signal } = terminal
  const apiKey = keyOf(options, env)
  const connection = connect({ url: urlOf(options, env), apiKey, sockets, signal })
  const quiet = options.quiet ?? false
  const progress = showProgress(stderr, loudnessOf(stderr, { quiet, term: env['TERM'] }))
  const persistence = { patienceMs: (options.retryFor ?? DEFAULT_RETRY_SECONDS) * 1000, signal }
  return {
    connection,
    apiKey,
    progress,
    persistence,
    patiently: {
      ...persistence,
      onWait: (error, waitMs) =>
        progress.beside(() =>
          stderr.write(`${error.message}; trying again in ${(waitMs / 1000).toFixed(1)} s\n`),
        ),
    },
    tell(result, line) {
      progress.beside(() => stdout.write(`${options.json ? JSON.stringify(result) : plain(line)}\n`))
    },
    close() {
      progress.stop()
      connection.close()
    },
  }
}

/** Does each in turn or at once, tells what failed, and goes on with the others. @returns the exit code */
export function collector(terminal: Terminal, session: Session, json: boolean) {
  let exitCode: number = EXIT.done
  return {
    failed(subject: string, error: unknown): void {
      if (!(error instanceof Error)) throw error
      const code = error instanceof Failure ? error.exitCode : EXIT.failed
      // The worst that happened counts: an interruption, then a key that is not taken, then a failure.
      exitCode = Math.max(exitCode, code)
      if (json) session.tell({ subject, error: error.message, status: statusOf(error) }, '')
      session.progress.beside(() => terminal.stderr.write(`${subject}: ${error.message}\n`))
    },
    exitCode: () => exitCode,
  }
}

const statusOf = (error: Error): number | null => (error instanceof Failure ? error.status : null)

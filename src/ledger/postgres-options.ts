import type { ClientConfig } from 'pg'
import { parseIntoClientConfig } from 'pg-connection-string'

export interface PostgresOptions {
  url: string
  /** connections at a time */
  poolSize?: number
  /** how long a statement may run or wait for a lock */
  statementTimeoutMs?: number
}

const POOL_SIZE = 10
const STATEMENT_TIMEOUT_MS = 10_000
/** for a connection to be made, or to become free */
const CONNECTION_TIMEOUT_MS = 5_000
/** A connection that has its statements prepared is worth keeping through a pause. */
const IDLE_MS = 60_000
/** What the server is given to tell of a timeout by itself. Behind that the connection counts as dead. */
const SILENCE_MS = 2_000

/**
 * What the session must be, whatever the server, the database or the role are set to. The adapter writes
 * and reads instants without their zone, in this form. And a lock is taken to read what is decided on it
 * behind it, in a snapshot of its own.
 */
const SESSION = '-c timezone=UTC -c datestyle=ISO -c default_transaction_isolation=read\\ committed'

/** How to connect to the database of a URL; ours wins over what stands in it, but for the name. */
export function connectionConfig(url: string): ClientConfig {
  const given = parseIntoClientConfig(url)
  return {
    application_name: 'upload-server',
    ...given,
    options: [given.options, SESSION].filter(Boolean).join(' '),
    connectionTimeoutMillis: CONNECTION_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
  }
}

/** The same for connections that serve requests: nothing on them takes forever. */
export const poolConfig = ({
  url,
  poolSize = POOL_SIZE,
  statementTimeoutMs = STATEMENT_TIMEOUT_MS,
}: PostgresOptions) => ({
  ...connectionConfig(url),
  max: poolSize,
  idleTimeoutMillis: IDLE_MS,
  statement_timeout: statementTimeoutMs,
  // What a process holds that was stopped in mid-transaction, the others get while they still wait for it.
  idle_in_transaction_session_timeout: Math.ceil(statementTimeoutMs / 2),
  query_timeout: statementTimeoutMs + SILENCE_MS,
})

import { PrismaPg } from '@prisma/adapter-pg'
import {
  DriverAdapterError,
  type SqlDriverAdapter,
  type SqlDriverAdapterFactory,
  type SqlQuery,
  type Transaction,
} from '@prisma/driver-adapter-utils'
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PoolClient } from 'pg'
import { poolConfig, type PostgresOptions } from './postgres-options.ts'

/** Statements of more values come in too many shapes for each to be kept by every connection. */
const MOST_VALUES_OF_PREPARED = 64
/** how long the last connections have to say goodbye */
const GOODBYE_MS = 2_000

/** What the stock transaction is inside: it hides its connection, and we have to end it. */
interface Stock extends Transaction {
  client: PoolClient
}

/**
 * Prisma's own adapter for PostgreSQL, corrected:
 * - What the driver says of a lost connection comes through in the words that Prisma knows.
 * - A connection on which a statement got no answer is given up. The stock adapter would put it back
 *   into the pool, and the next to use it would wait behind that statement.
 * - Statements that come again are prepared once on each connection.
 * - Disconnecting does not wait for a server that is silent.
 */
export const postgresAdapter = (options: PostgresOptions): SqlDriverAdapterFactory => ({
  provider: 'postgres',
  adapterName: '@prisma/adapter-pg',
  connect: () => connect(options),
})

async function connect(options: PostgresOptions): Promise<SqlDriverAdapter> {
  const stock = await new PrismaPg(poolConfig(options), {
    statementNameGenerator: statementNames(),
  }).connect()
  return {
    provider: stock.provider,
    adapterName: stock.adapterName,
    queryRaw: (query) => told(stock.queryRaw(query)),
    executeRaw: (query) => told(stock.executeRaw(query)),
    executeScript: (script) => told(stock.executeScript(script)),
    async startTransaction(level) {
      return corrected((await told(stock.startTransaction(level))) as Stock)
    },
    getConnectionInfo: () => stock.getConnectionInfo(),
    async dispose() {
      await Promise.race([stock.dispose(), sleep(GOODBYE_MS, undefined, { ref: false })])
    },
  }
}

function corrected(stock: Stock): Transaction {
  async function run<T>(statement: Promise<T>): Promise<T> {
    try {
      return await told(statement)
    } catch (error) {
      // With its last statement unanswered this breaks it off, and the pool will not take it back.
      if (isLost(error)) void stock.client.end().catch(() => {})
      throw error
    }
  }
  return {
    provider: stock.provider,
    adapterName: stock.adapterName,
    options: stock.options,
    queryRaw: (query) => run(stock.queryRaw(query)),
    executeRaw: (query) => run(stock.executeRaw(query)),
    commit: () => stock.commit(),
    rollback: () => stock.rollback(),
  }
}

/** Names by which the server keeps statements, the same for the same words; none for what is not kept. */
function statementNames(): (query: SqlQuery) => string {
  const names = new Map<string, string>()
  return ({ sql, args }) => {
    if (args.length === 0 || args.length > MOST_VALUES_OF_PREPARED) return ''
    const name = names.get(sql) ?? createHash('sha256').update(sql).digest('base64url')
    names.set(sql, name)
    return name
  }
}

async function told<T>(statement: Promise<T>): Promise<T> {
  try {
    return await statement
  } catch (error) {
    throw asDriverError(error)
  }
}

/** The driver gives these no code. */
const LOST =
  /^(Connection terminated|timeout exceeded when trying to connect|timeout expired|Query read timeout|Client (has encountered a connection error|was closed) and is not queryable)/

/** What the stock adapter threw, with a kind: it passes on what is neither an SQL error nor a well-known one. */
function asDriverError(error: unknown): unknown {
  if (error instanceof DriverAdapterError || !(error instanceof Error)) return error
  const { code } = error as NodeJS.ErrnoException
  const original = { originalMessage: error.message, ...(code !== undefined && { originalCode: code }) }
  if (LOST.test(error.message)) return new DriverAdapterError({ kind: 'ConnectionClosed', ...original })
  // The operating system's, such as EPIPE, EHOSTUNREACH or several ECONNREFUSED at once.
  if (code !== undefined && /^E[A-Z_]+$/.test(code))
    return new DriverAdapterError({ kind: 'DatabaseNotReachable', ...original })
  return error
}

const isLost = (error: unknown): boolean =>
  error instanceof DriverAdapterError && error.cause.kind === 'ConnectionClosed'

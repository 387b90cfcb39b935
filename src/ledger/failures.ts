import { HttpError, unavailable } from '../core/errors.ts'

/** Prisma's codes for a database that is away or too busy. */
const AWAY_CODES = new Set(['P1001', 'P1002', 'P1008', 'P1017', 'P2024', 'P2028', 'P2034', 'P2037'])
/** The same, where an adapter's error comes through as it is or inside a "raw query failed". */
const AWAY_KINDS = new Set([
  'SocketTimeout',
  'DatabaseNotReachable',
  'ConnectionClosed',
  'TooManyConnections',
  'TransactionWriteConflict',
  // A server that doesn't let us in any more, or has lost the database: nothing that a client did.
  'AuthenticationFailed',
  'DatabaseAccessDenied',
  'DatabaseDoesNotExist',
  'TlsConnectionError',
])
const AWAY_SQLITE_CODES = /^SQLITE_(BUSY|LOCKED|IOERR|CANTOPEN|READONLY)/
/**
 * PostgreSQL's classes: connections (08), resources (53), intervention by an operator (57), such as a
 * shutdown or a statement's timeout, and the system's errors (58). And some of its codes: a server that has become a
 * standby, a transaction that did nothing for too long, a lock that could not be had.
 * @see https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const AWAY_SQLSTATES = /^(08|53|57|58)...$|^(25006|25P03|25P04|55P03)$/
const FULL = new Set(['SQLITE_FULL', '53100'])

interface DatabaseError {
  code?: unknown
  meta?: { driverAdapterError?: { cause?: DriverCause } }
  cause?: DriverCause
}

interface DriverCause {
  kind?: string
  originalCode?: string
}

/** A database error as the port tells it: `unavailable` where another try may help, a full disk, or as it is. */
export function surfaced(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof HttpError) return error
  const { kind = '', originalCode = '' } = causeOf(error)
  if (FULL.has(originalCode)) return new HttpError('insufficient_storage', { cause: error })
  const away =
    AWAY_CODES.has(String((error as DatabaseError).code)) ||
    AWAY_KINDS.has(kind) ||
    AWAY_SQLITE_CODES.test(originalCode) ||
    AWAY_SQLSTATES.test(originalCode)
  return away ? unavailable(undefined, error) : error
}

/** What is made of asynchronous methods, with their rejections as the port tells them. */
export function surfacing<T extends object>(port: T): T {
  const methods = Object.entries(port) as [string, (...args: unknown[]) => Promise<unknown>][]
  const wrapped = methods.map(([name, method]) => [
    name,
    async (...args: unknown[]) => {
      try {
        return await method(...args)
      } catch (error) {
        throw surfaced(error)
      }
    },
  ])
  return Object.fromEntries(wrapped) as T
}

/** Whether a transaction was broken off because of another one: a deadlock, or rows that changed under it. */
export const lostRace = (error: unknown): boolean =>
  error instanceof Error && causeOf(error).kind === 'TransactionWriteConflict'

const causeOf = (error: Error): DriverCause => {
  const { meta, cause } = error as DatabaseError
  return meta?.driverAdapterError?.cause ?? cause ?? {}
}

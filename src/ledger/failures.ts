import { HttpError, unavailable } from '../core/errors.ts'

/** Prisma's codes for a database that is away or too busy. */
const AWAY_CODES = new Set(['P1001', 'P1002', 'P1008', 'P1017', 'P2024', 'P2028', 'P2037'])
/** The same, where an adapter's error comes through as it is or inside a "raw query failed". */
const AWAY_KINDS = new Set([
  'SocketTimeout',
  'DatabaseNotReachable',
  'ConnectionClosed',
  'TooManyConnections',
])
const AWAY_SQLITE_CODES = /^SQLITE_(BUSY|LOCKED|IOERR|CANTOPEN|READONLY)/

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
  if (!(error instanceof Error)) return error
  const { code, meta, cause: own } = error as DatabaseError
  const cause = meta?.driverAdapterError?.cause ?? own
  if (cause?.originalCode === 'SQLITE_FULL') return new HttpError('insufficient_storage', { cause: error })
  const away =
    AWAY_CODES.has(String(code)) ||
    AWAY_KINDS.has(cause?.kind ?? '') ||
    AWAY_SQLITE_CODES.test(cause?.originalCode ?? '')
  return away ? unavailable(undefined, error) : error
}

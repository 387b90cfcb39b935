import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3'
import {
  DriverAdapterError,
  type SqlDriverAdapter,
  type SqlDriverAdapterFactory,
  type Transaction,
} from '@prisma/driver-adapter-utils'
import type Database from 'better-sqlite3'
import { setTimeout as sleep } from 'node:timers/promises'

export interface SqliteOptions {
  /** of the database, or ':memory:' */
  path: string
  /** how long a statement waits for another process's write lock */
  busyTimeoutMs?: number
  /** whether a commit is forced to the disk, so that it outlives a power failure; any outlives the process */
  forceCommits?: boolean
}

const BUSY_TIMEOUT_MS = 5_000
const LONGEST_PAUSE_MS = 50
const STATEMENT_CACHE_SIZE = 256
const NEEDS_NO_LOCK = /^\s*(SELECT|EXPLAIN|PRAGMA|VACUUM)\b/i

/** What the stock adapter is inside: it hides its connection, and we have to set it up. */
interface Stock extends SqlDriverAdapter {
  client: Database.Database
}

/**
 * Prisma's own adapter for SQLite, corrected:
 * - A statement outside a transaction waits while one is open. Both use the one connection: it would
 *   become part of the transaction, and vanish with its rollback.
 * - A transaction takes the write lock as it begins. One that asks for it later fails at once where
 *   another process wrote in between, whatever the timeout.
 * - Waiting for that lock leaves the event loop free. SQLite's own busy timeout blocks the thread.
 * - WAL, so that readers and a writer get along, and prepared statements are kept.
 */
export const sqliteAdapter = (options: SqliteOptions): SqlDriverAdapterFactory => ({
  provider: 'sqlite',
  adapterName: '@prisma/adapter-better-sqlite3',
  connect: () => connect(options),
})

async function connect({
  path,
  busyTimeoutMs = BUSY_TIMEOUT_MS,
  forceCommits = false,
}: SqliteOptions): Promise<SqlDriverAdapter> {
  const stock = await openStock(path)
  const { client } = stock
  let open: Promise<void> | undefined

  /** Runs it while no transaction is open, again and again until it finds no foreign lock. */
  async function alone<T>(run: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + busyTimeoutMs
    for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      // Nothing may be awaited between the end of this loop and the start of the statement.
      while (open) await open
      try {
        return await run()
      } catch (error) {
        if (!isBusy(error) || performance.now() + pauseMs > deadline) throw error
      }
      await sleep(pauseMs * (0.5 + Math.random()))
    }
  }

  async function begin(): Promise<Transaction> {
    execute(client, 'BEGIN IMMEDIATE')
    const { promise, resolve } = withResolvers()
    open = promise
    const end = (commits: boolean) => async () => {
      if (open !== promise) return
      try {
        if (commits) execute(client, 'COMMIT')
      } finally {
        open = undefined
        resolve()
        // A failed COMMIT leaves it open; an error such as a full disk has closed it already.
        if (client.inTransaction) execute(client, 'ROLLBACK')
      }
    }
    const savepoint = (verb: string) => async (name: string) => execute(client, `${verb} ${name}`)
    return {
      provider: 'sqlite',
      adapterName: stock.adapterName,
      // "Phantom": Prisma leaves COMMIT and ROLLBACK to us.
      options: { usePhantomQuery: true },
      queryRaw: (query) => stock.queryRaw(query),
      executeRaw: (query) => stock.executeRaw(query),
      commit: end(true),
      rollback: end(false),
      createSavepoint: savepoint('SAVEPOINT'),
      rollbackToSavepoint: savepoint('ROLLBACK TO'),
      releaseSavepoint: savepoint('RELEASE SAVEPOINT'),
    }
  }

  /**
   * Runs a statement outside a transaction. A write gets one of its own: where it finds the lock
   * taken it would stay half begun in the driver, and until it ran again nothing else could commit.
   */
  async function single<T>(sql: string, run: () => Promise<T>): Promise<T> {
    if (NEEDS_NO_LOCK.test(sql)) return run()
    const transaction = await begin()
    try {
      const result = await run()
      await transaction.commit()
      return result
    } catch (error) {
      await transaction.rollback()
      throw error
    }
  }

  await alone(async () => execute(client, 'PRAGMA journal_mode = WAL'))
  execute(client, `PRAGMA synchronous = ${forceCommits ? 'FULL' : 'NORMAL'}`)
  execute(client, 'PRAGMA foreign_keys = ON')
  keepStatements(client)

  return {
    provider: 'sqlite',
    adapterName: stock.adapterName,
    queryRaw: (query) => alone(() => single(query.sql, () => stock.queryRaw(query))),
    executeRaw: (query) => alone(() => single(query.sql, () => stock.executeRaw(query))),
    executeScript: (script) => alone(() => stock.executeScript(script)),
    async startTransaction(level) {
      if (level && level !== 'SERIALIZABLE')
        throw new DriverAdapterError({ kind: 'InvalidIsolationLevel', level })
      return alone(begin)
    },
    async dispose() {
      while (open) await open
      try {
        // The driver leaves the log beside the file; so whoever copies the file alone has everything.
        execute(client, 'PRAGMA wal_checkpoint(TRUNCATE)')
      } catch {
        // On a full disk the log has to stay: what is in it counts all the same.
      }
      await stock.dispose()
    },
  }
}

async function openStock(path: string): Promise<Stock> {
  try {
    return (await new PrismaBetterSqlite3({ url: path, timeout: 0 }).connect()) as Stock
  } catch (error) {
    // The driver gives this failure no code, and Prisma would not know it for what it is.
    throw new DriverAdapterError({
      kind: 'DatabaseNotReachable',
      host: path,
      originalMessage: String(error),
    })
  }
}

function execute(client: Database.Database, sql: string): void {
  try {
    client.exec(sql)
  } catch (error) {
    throw asDriverError(error)
  }
}

/** An error of the driver in the form that Prisma and `isBusy` know. */
function asDriverError(error: unknown): unknown {
  const { code, message } = error as Error & { code?: string }
  if (code === undefined) return error
  const original = { originalCode: code, originalMessage: message }
  if (code.startsWith('SQLITE_BUSY')) return new DriverAdapterError({ kind: 'SocketTimeout', ...original })
  return new DriverAdapterError({ kind: 'sqlite', extendedCode: 1, message, ...original })
}

const isBusy = (error: unknown): boolean =>
  error instanceof DriverAdapterError && error.cause.kind === 'SocketTimeout'

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

interface Kept {
  statement: Database.Statement
  /** Asked of the driver each time, these cost as much as running it. */
  reader: boolean
  columns: Database.ColumnDefinition[]
}

/** Preparing costs more than running. The adapter prepares for each call; here it gets what we kept. */
function keepStatements(client: Database.Database): void {
  const prepare = client.prepare.bind(client)
  const all = new Map<string, Kept>()

  function keep(sql: string): Kept {
    const statement = prepare(sql)
    const { reader } = statement
    if (reader) statement.raw()
    const kept = { statement, reader, columns: reader ? statement.columns() : [] }
    all.set(sql, kept)
    const oldest = all.size > STATEMENT_CACHE_SIZE && all.keys().next().value
    if (oldest) all.delete(oldest)
    return kept
  }

  // The driver's `bind` is for good: once bound, a statement takes no other arguments. So the
  // arguments are held here until it runs.
  const bound = (sql: string) => {
    const { statement, reader, columns } = all.get(sql) ?? keep(sql)
    return {
      bind: (args: unknown[]) => ({
        reader,
        run: () => statement.run(args),
        columns: () => columns,
        raw: () => ({ all: () => statement.all(args) }),
      }),
    }
  }
  client.prepare = bound as unknown as typeof client.prepare
}

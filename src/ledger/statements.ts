import {
  ColumnTypeEnum,
  DriverAdapterError,
  type ArgType,
  type ColumnType,
  type SqlDriverAdapter,
  type SqlQuery,
  type SqlQueryable,
  type SqlResultSet,
} from '@prisma/driver-adapter-utils'
import { Prisma } from '../generated/sqlite/client.ts'

/** What statements run on: a transaction, or the database itself for one of their own. */
export interface Client {
  $queryRaw<T = unknown>(words: TemplateStringsArray | Prisma.Sql, ...values: unknown[]): Promise<T>
  /** @returns how many rows it changed */
  $executeRaw(words: TemplateStringsArray | Prisma.Sql, ...values: unknown[]): Promise<number>
}

export interface Database extends Client {
  /** Runs `work` as one transaction; it is rolled back when that rejects. */
  $transaction<T>(work: (tx: Client) => Promise<T>): Promise<T>
  $disconnect(): Promise<void>
}

/**
 * Statements on one of Prisma's driver adapters, without the engine that stands before it in a
 * PrismaClient: that interprets a plan for every statement, which costs several times what the statement
 * does, and 34 MB of WebAssembly. The calls are those of Prisma's raw queries.
 * @see https://www.prisma.io/docs/orm/prisma-client/using-raw-sql/raw-queries
 */
export function statementsOn(adapter: SqlDriverAdapter): Database {
  let ended: Promise<void> | undefined
  return {
    ...clientOn(adapter),
    async $transaction(work) {
      const transaction = await inWords(adapter.startTransaction())
      const { usePhantomQuery } = transaction.options
      // An adapter that calls its queries "phantom" ends the transaction by itself.
      const say = async (sql: string) => usePhantomQuery || inWords(transaction.executeRaw(plain(sql)))
      let failure: { error: unknown } | null = null
      const failed = (error: unknown) => void (failure ??= { error })
      try {
        const result = await work(watched(clientOn(transaction), failed))
        // PostgreSQL has given it up by then, and answers COMMIT as if it had not.
        throwIf(failure)
        await say('COMMIT')
        await inWords(transaction.commit())
        return result
      } catch (error) {
        await Promise.resolve(say('ROLLBACK')).catch(() => {})
        await transaction.rollback().catch(() => {})
        throw error
      }
    },
    $disconnect: () => (ended ??= adapter.dispose()),
  }
}

/** The same, and `failed` is told of what goes wrong, whoever else catches it. */
function watched(client: Client, failed: (error: unknown) => void): Client {
  const watching = async <T>(answer: Promise<T>): Promise<T> => {
    try {
      return await answer
    } catch (error) {
      failed(error)
      throw error
    }
  }
  return {
    $queryRaw: (words, ...values) => watching(client.$queryRaw(words, ...values)),
    $executeRaw: (words, ...values) => watching(client.$executeRaw(words, ...values)),
  }
}

function throwIf(failure: { error: unknown } | null): void {
  if (failure) throw failure.error
}

function clientOn(connection: SqlQueryable): Client {
  const { provider } = connection
  const queryOf = (words: TemplateStringsArray | Prisma.Sql, values: unknown[]): SqlQuery => {
    const sql = words instanceof Prisma.Sql ? words : Prisma.sql(words, ...values)
    return {
      sql: provider === 'postgres' ? sql.text : sql.sql,
      args: sql.values,
      argTypes: sql.values.map(() => AS_IT_IS),
    }
  }
  return {
    async $queryRaw<T>(words: TemplateStringsArray | Prisma.Sql, ...values: unknown[]) {
      return rowsOf(await inWords(connection.queryRaw(queryOf(words, values)))) as T
    },
    $executeRaw: (words, ...values) => inWords(connection.executeRaw(queryOf(words, values))),
  }
}

/** The adapters' errors have but their kind for a message; an operator needs what the database said. */
async function inWords<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof DriverAdapterError && error.cause.originalMessage !== undefined)
      error.message = `${error.cause.kind}: ${error.cause.originalMessage}`
    throw error
  }
}

const AS_IT_IS: ArgType = { scalarType: 'unknown', arity: 'scalar' }

const plain = (sql: string): SqlQuery => ({ sql, args: [], argTypes: [] })

function rowsOf({ columnNames, columnTypes, rows }: SqlResultSet): Record<string, unknown>[] {
  const readers = columnTypes.map((type) => READERS[type])
  return rows.map((row) => {
    const named: Record<string, unknown> = {}
    for (let i = 0; i < row.length; i++) {
      const read = readers[i]
      const value = row[i] ?? null
      named[columnNames[i] as string] = value === null || !read ? value : read(value)
    }
    return named
  })
}

/** How values of a column become those of JavaScript, where they are not already. */
const READERS: Partial<Record<ColumnType, (value: unknown) => unknown>> = {
  [ColumnTypeEnum.DateTime]: (value) => new Date(value as string),
  [ColumnTypeEnum.Json]: (value): unknown => (typeof value === 'string' ? JSON.parse(value) : value),
  // Sizes and instants: every one of them is a safe number.
  [ColumnTypeEnum.Int64]: Number,
  [ColumnTypeEnum.Boolean]: Boolean,
}

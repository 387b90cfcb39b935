import type { UploadLedger } from '../core/ports/ledger.ts'
import { createLedger } from './ledger.ts'
import { openDb, type Db } from './open.ts'
import { whilePresent } from './present.ts'
import { keepReserve, reserveOf } from './reserve.ts'
import { providerOf, sqlitePath } from './url.ts'
import { withReserve } from './with-reserve.ts'

export interface LedgerOptions {
  databaseUrl: string
  databasePoolSize: number
  databaseStatementTimeoutMs: number
  durability: 'process' | 'disk'
  maxBytesPerUser: number
  webhooks?: { urls: readonly string[] } | null
}

export interface OpenLedger {
  db: Db
  ledger: UploadLedger
  /** Whether its disk has no room but for deletions. */
  isFull(): boolean
}

/** The ledger on the database of a URL. One in a file has a disk to mind, one on a server has not. */
export async function openLedger(options: LedgerOptions): Promise<OpenLedger> {
  const db = await openDb(options.databaseUrl, {
    poolSize: options.databasePoolSize,
    statementTimeoutMs: options.databaseStatementTimeoutMs,
    forceCommits: options.durability === 'disk',
  })
  const opened = minding(db, options)
  await opened.ledger.forgetUsage()
  return opened
}

function minding(db: Db, options: LedgerOptions): OpenLedger {
  const ledger = createLedger(db, options)
  if (providerOf(options.databaseUrl) !== 'sqlite') return { db, ledger, isFull: () => false }
  const file = sqlitePath(options.databaseUrl)
  const reserve = keepReserve(reserveOf(file))
  return { db, ledger: whilePresent(withReserve(ledger, reserve), file), isFull: reserve.isOut }
}

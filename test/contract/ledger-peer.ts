import { randomUUID } from 'node:crypto'
import type { UploadLedger } from '../../src/core/ports/ledger.ts'
import type { Lease, Leases, Place } from '../../src/core/ports/locker.ts'
import { createLeases } from '../../src/ledger/leases.ts'
import { createLedger } from '../../src/ledger/ledger.ts'
import { openDb, type Db } from '../../src/ledger/open.ts'

/** A process as the database knows it. */
export interface Peer {
  db: Db
  ledger: UploadLedger
  leases: Leases
}

export async function openPeer(url: string, owner: string): Promise<Peer> {
  const db = await openDb(url)
  return { db, ledger: createLedger(db), leases: createLeases(db, owner) }
}

export const TTL_MS = 60_000
/** of a lease that has expired as soon as it is there */
export const NO_TIME = 0

export const newLease = (place: Place = 0, id: string = randomUUID()): Lease => ({
  id,
  place,
  token: randomUUID(),
})

/** Another process's try at the same place. */
export const rival = (lease: Lease): Lease => ({ ...lease, token: randomUUID() })

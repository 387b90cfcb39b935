import { randomUUID } from 'node:crypto'
import type { Deliveries } from '../../src/core/events.ts'
import type { UploadLedger } from '../../src/core/ports/ledger.ts'
import type { Leases } from '../../src/core/ports/locker.ts'
import { Prisma } from '../../src/generated/sqlite/client.ts'
import type { Db } from '../../src/ledger/open.ts'
import type { Client } from '../../src/ledger/statements.ts'
import { bytes, commitOf, doneOf, EXPIRY, newUpload, range, START, wholeCell } from './ledger-fixture.ts'
import { newLease, rival, TTL_MS } from './ledger-peer.ts'

/** The database, with `ask` around every statement, those within transactions, too. */
export function watching(
  { client, dialect }: Db,
  ask: (sql: Prisma.Sql, run: () => Promise<unknown>) => Promise<unknown>,
): Db {
  const watched = (on: Client): Client => {
    const around =
      (run: (sql: Prisma.Sql) => Promise<unknown>) =>
      async (words: TemplateStringsArray | Prisma.Sql, ...values: unknown[]) => {
        const sql = words instanceof Prisma.Sql ? words : Prisma.sql(words, ...values)
        return ask(sql, () => run(sql)) as never
      }
    return {
      $queryRaw: around((sql) => on.$queryRaw(sql)),
      $executeRaw: around((sql) => on.$executeRaw(sql)),
    }
  }
  return {
    client: {
      ...client,
      ...watched(client),
      $transaction: (work) => client.$transaction((tx) => work(watched(tx))),
    },
    dialect,
  }
}

/** The database, with the SQL of every statement written down, as its own dialect has it. */
export const recording = (db: Db, asked: string[]): Db =>
  watching(db, ({ sql, text }, run) => {
    asked.push(db.dialect.locksRows ? text : sql)
    return run()
  })

/** Calls everything that asks for more than a row by its id. */
export async function askEverything(ledger: UploadLedger): Promise<void> {
  const { id } = await ledger.create(newUpload({ size: 1000 }))
  await ledger.commit(commitOf(id, [wholeCell(2), wholeCell(1)]))
  await ledger.commit(commitOf(id, [wholeCell(0)]))
  await ledger.get(id)
  await ledger.getAll([id])
  await ledger.cell(id, 0)
  await ledger.cells(id)
  await ledger.storedCells(id)
  await ledger.freeCell(id, 0, START)
  await ledger.setExpiry([id], EXPIRY)
  const first = await ledger.create(newUpload({ size: null }))
  await ledger.commit(commitOf(first.id, [bytes(0, 0, 1)]))
  await ledger.declareSize(first.id, 10, START, null)
  const done = doneOf()
  await ledger.createOnce(newUpload(), done)
  await ledger.look(id, done, START)
  await ledger.note(done, START)
  await ledger.forget(EXPIRY, 10)
  await ledger.signingKey({ id: 'a', secret: 'b' })
  await ledger.createFinal({ ...newUpload({ concat: 'final;/files/a' }), size: 1 }, 'key')
  await ledger.findFinal('key')
  await ledger.list({ ownerId: 'ada', limit: 1 })
  const { nextCursor } = await ledger.list({ ownerId: 'ada', limit: 1 })
  await ledger.list({ ownerId: 'ada', limit: 1, cursor: nextCursor as string })
  await ledger.list({ ownerId: 'ada', limit: 1, cursor: nextCursor as string, status: 'COMPLETED' })
  await ledger.list({ ownerId: 'ada', limit: 1, cursor: nextCursor as string, status: 'IN_PROGRESS' })
  await ledger.expired(EXPIRY, 10)
  await ledger.expire(first.id, EXPIRY)
  await ledger.leftovers(EXPIRY, 10)
  await ledger.inStatus('FINALIZING', 10)
  await ledger.transition(id, 'COMPLETED', START)
  await ledger.markDeleted(id, START)
  await ledger.purge(id)
}

/** Calls everything that asks for leases, of several at once. */
export async function askLeases(ledger: UploadLedger, leases: Leases): Promise<void> {
  const { id } = await ledger.create(newUpload())
  const held = range(3).map((place) => newLease(place, id))
  await Promise.all(held.map((lease) => leases.take(lease, TTL_MS)))
  await Promise.all(held.map((lease) => leases.take(rival(lease), TTL_MS)))
  await leases.renew(
    held.map((lease, i) => ({ ...lease, idle: i < 2 })),
    TTL_MS,
  )
  await ledger.commit(commitOf(id, [wholeCell(0)], { fences: held }))
  for (const lease of held) await leases.ask(lease)
  await leases.elsewhere(id)
  await leases.sweep({ id })
  await leases.sweep({ ms: TTL_MS })
  await Promise.all(held.map((lease) => leases.release(lease)))
}

/** Calls everything that is asked for events on their way; the ledger tells `receiver`. */
export async function askDeliveries(deliveries: Deliveries, receiver: string): Promise<void> {
  const [delivered, failed, released] = await deliveries.claim(receiver, 3, TTL_MS)
  if (!delivered || !failed || !released) throw new Error('there are events of several uploads')
  await deliveries.delivered(delivered)
  await deliveries.failed(failed, 'made up', null)
  await deliveries.release(released)
  await deliveries.giveUpOthers([receiver], -TTL_MS)
  await deliveries.forget({ deliveredMs: TTL_MS, deadMs: TTL_MS }, 10)
  await deliveries.backlog()
  await deliveries.dead(10)
  await deliveries.replay(randomUUID())
}

import { randomUUID } from 'node:crypto'
import { eventOf, type Happening } from '../core/events.ts'
import type { Committed } from '../core/ports/ledger.ts'
import { Prisma } from '../generated/sqlite/client.ts'
import type { Dialect } from './dialect.ts'
import type { Client } from './statements.ts'

/** Tells receivers what becomes of uploads. */
export interface Outbox {
  /**
   * Notes events in the transaction that makes them true: it does both or neither, whenever the process
   * dies. The uploads are held by it, so that the events of each get their numbers in the order in which
   * they happen.
   */
  record(tx: Client, happenings: readonly Happening[]): Promise<void>
}

/** Rows of one INSERT: six values each, and SQLite takes 32,766. */
const ROWS_PER_INSERT = 1_000

/** @param endpoints the receivers; every one gets every event */
export const createOutbox = ({ nowMs }: Dialect, endpoints: readonly string[]): Outbox => ({
  async record(tx, happenings) {
    const rows = happenings.flatMap((happening) => {
      const id = randomUUID()
      const body = JSON.stringify(eventOf(id, happening))
      return endpoints.map(
        (endpoint) => Prisma.sql`(${id}, ${endpoint}, ${happening.upload.id}, ${body}, ${nowMs}, ${nowMs})`,
      )
    })
    for (let done = 0; done < rows.length; done += ROWS_PER_INSERT)
      await tx.$executeRaw`
        INSERT INTO webhook_deliveries (event_id, endpoint, upload_id, body, due_at_ms, recorded_at_ms)
        VALUES ${Prisma.join(rows.slice(done, done + ROWS_PER_INSERT))}`
  },
})

/** The uploads that commits have completed. */
export const completedBy = (commits: readonly Committed[]): Happening[] =>
  commits.flatMap((committed) =>
    committed.ok && committed.reached === 'COMPLETED'
      ? [{ type: 'upload.completed', upload: committed.upload } as const]
      : [],
  )

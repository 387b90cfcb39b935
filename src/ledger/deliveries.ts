import { randomUUID } from 'node:crypto'
import type { DeadLetter, Deliveries, Delivery, UploadEvent } from '../core/events.ts'
import { Prisma } from '../generated/sqlite/client.ts'
import type { Dialect } from './dialect.ts'
import { surfacing } from './failures.ts'
import { inGroups } from './group.ts'
import type { Db } from './open.ts'
import type { Client } from './statements.ts'
import { persistently } from './transaction.ts'

/** The driver would take it for a number of 32 bits, by its type in SQLite. */
const SEQ = Prisma.sql`CAST(seq AS BIGINT) AS seq`
/** Deliveries that end together share a statement. */
const PER_STATEMENT = 500

/** Events on their way, in the ledger's database. Its clock says what is due, which all processes share. */
export function createDeliveries({ client: db, dialect }: Db): Deliveries {
  const ended = inGroups(PER_STATEMENT, (all: Delivery[]) => markDelivered(db, dialect, all))
  const { nowMs } = dialect
  return surfacing<Deliveries>({
    claim: (endpoint, limit, leaseMs) => claim(db, dialect, endpoint, limit, leaseMs),
    delivered: (delivery) => ended.add(delivery),
    async failed({ seq, claim: ours }, why, retryInMs) {
      await db.$executeRaw`
        UPDATE webhook_deliveries SET
          state = ${retryInMs === null ? 'DEAD' : 'PENDING'}, attempts = attempts + 1, claim = NULL,
          last_error = ${why}, last_attempt_at_ms = ${nowMs}, due_at_ms = ${nowMs} + ${retryInMs ?? 0}
        WHERE seq = ${seq} AND claim = ${ours} AND state = 'PENDING'`
    },
    async release({ seq, claim: ours }) {
      await db.$executeRaw`
        UPDATE webhook_deliveries SET claim = NULL, due_at_ms = ${nowMs}
        WHERE seq = ${seq} AND claim = ${ours} AND state = 'PENDING'`
    },
    giveUpOthers: (endpoints, ms) => giveUpOthers(db, dialect, endpoints, ms),
    async forget({ deliveredMs, deadMs }, limit) {
      return (
        (await forget(db, dialect, 'DELIVERED', deliveredMs, limit)) +
        (await forget(db, dialect, 'DEAD', deadMs, limit))
      )
    },
    backlog: () => backlog(db, dialect),
    dead: (limit, before) => dead(db, limit, before),
    replay: (eventId) =>
      persistently(
        () => db.$executeRaw`
          UPDATE webhook_deliveries SET state = 'PENDING', attempts = 0, claim = NULL, due_at_ms = ${nowMs}
          WHERE event_id = ${eventId} AND state = 'DEAD'`,
      ),
  })
}

async function claim(
  db: Client,
  { nowMs, locksRows }: Dialect,
  endpoint: string,
  limit: number,
  leaseMs: number,
): Promise<Delivery[]> {
  // Asked for once, so that PostgreSQL goes along the index and no further: there may be many that are not due.
  const now = Prisma.sql`(SELECT ${nowMs})`
  // As a rule there is none, and looking takes no lock.
  const some = await db.$queryRaw<unknown[]>`
    SELECT 1 FROM webhook_deliveries
    WHERE endpoint = ${endpoint} AND state = 'PENDING' AND due_at_ms <= ${now}
    ORDER BY due_at_ms LIMIT 1`
  if (some.length === 0) return []
  const token = randomUUID()
  // What another process is just taking is passed over. On SQLite only one writes at a time.
  const skipping = locksRows ? Prisma.sql`FOR UPDATE OF d SKIP LOCKED` : Prisma.empty
  const rows = await persistently(
    () => db.$queryRaw<{ seq: bigint; event_id: string; body: string; attempts: number | bigint }[]>`
      WITH mine AS MATERIALIZED (
        SELECT d.seq FROM webhook_deliveries d
        WHERE d.endpoint = ${endpoint} AND d.state = 'PENDING' AND d.due_at_ms <= ${now}
          AND NOT EXISTS (
            SELECT 1 FROM webhook_deliveries e
            WHERE e.upload_id = d.upload_id AND e.endpoint = d.endpoint AND e.seq < d.seq
              AND e.state = 'PENDING' AND e.attempts = 0)
        ORDER BY d.due_at_ms
        LIMIT ${limit} ${skipping})
      UPDATE webhook_deliveries SET due_at_ms = ${nowMs} + ${leaseMs}, claim = ${token}
      WHERE seq IN (SELECT seq FROM mine)
      RETURNING ${SEQ}, event_id, body, attempts`,
  )
  return rows
    .map((row) => ({
      seq: Number(row.seq),
      eventId: row.event_id,
      body: row.body,
      attempts: Number(row.attempts),
      claim: token,
    }))
    .toSorted((a, b) => a.seq - b.seq)
}

/** Whoever else has taken it since: it has arrived. */
async function markDelivered(db: Client, { nowMs, forUpdate }: Dialect, all: Delivery[]): Promise<void[]> {
  const seqs = Prisma.join(all.map(({ seq }) => seq))
  await persistently(
    () => db.$executeRaw`
      UPDATE webhook_deliveries SET
        state = 'DELIVERED', claim = NULL, last_error = NULL, last_attempt_at_ms = ${nowMs}
      WHERE seq IN (SELECT seq FROM webhook_deliveries WHERE seq IN (${seqs}) ORDER BY seq ${forUpdate})`,
  )
  return all.map(() => undefined)
}

async function giveUpOthers(
  db: Client,
  { nowMs, forUpdate }: Dialect,
  endpoints: readonly string[],
  ms: number,
): Promise<number> {
  // As a rule none is that old, and of those that wait there may be many.
  const [oldest] = await db.$queryRaw<{ age_ms: bigint }[]>`
    SELECT ${nowMs} - recorded_at_ms AS age_ms FROM webhook_deliveries
    WHERE state = 'PENDING' ORDER BY seq LIMIT 1`
  if (!oldest || oldest.age_ms < ms) return 0
  return persistently(
    () => db.$executeRaw`
      UPDATE webhook_deliveries SET state = 'DEAD', last_error = 'WEBHOOK_URL names this receiver no more'
      WHERE seq IN (
        SELECT seq FROM webhook_deliveries
        WHERE state = 'PENDING' AND endpoint NOT IN (${Prisma.join([...endpoints])})
          AND due_at_ms <= ${nowMs} - ${ms}
        ORDER BY seq ${forUpdate})`,
  )
}

/** The oldest are looked at, by when they were recorded, so that this costs the same however many are kept. */
function forget(
  db: Client,
  { nowMs, forUpdate }: Dialect,
  state: 'DELIVERED' | 'DEAD',
  keepMs: number,
  limit: number,
): Promise<number> {
  return persistently(
    () => db.$executeRaw`
      DELETE FROM webhook_deliveries
      WHERE seq IN (
          SELECT seq FROM webhook_deliveries WHERE state = ${state} ORDER BY seq LIMIT ${limit} ${forUpdate})
        AND recorded_at_ms <= ${nowMs} - ${keepMs}`,
  )
}

async function backlog(db: Client, { nowMs }: Dialect) {
  const counted = (state: string) =>
    Prisma.sql`(SELECT COUNT(*) FROM webhook_deliveries WHERE state = ${state})`
  const [row] = await db.$queryRaw<{ pending: bigint; dead: bigint; age_ms: bigint | null }[]>`
    SELECT ${counted('PENDING')} AS pending, ${counted('DEAD')} AS dead, ${nowMs} - (
      SELECT recorded_at_ms FROM webhook_deliveries WHERE state = 'PENDING' ORDER BY seq LIMIT 1) AS age_ms`
  return {
    pending: Number(row?.pending),
    dead: Number(row?.dead),
    ageMs: Math.max(0, Number(row?.age_ms ?? 0)),
  }
}

interface DeadRow {
  seq: bigint
  endpoint: string
  body: string
  attempts: number | bigint
  last_error: string | null
  last_attempt_at_ms: bigint | null
}

async function dead(db: Client, limit: number, before = Number.MAX_SAFE_INTEGER): Promise<DeadLetter[]> {
  const rows = await db.$queryRaw<DeadRow[]>`
    SELECT ${SEQ}, endpoint, body, attempts, last_error, last_attempt_at_ms FROM webhook_deliveries d
    WHERE state = 'DEAD' AND d.seq < ${before}
    ORDER BY d.seq DESC LIMIT ${limit}`
  return rows.map((row) => ({
    seq: Number(row.seq),
    endpoint: row.endpoint,
    event: JSON.parse(row.body) as UploadEvent,
    attempts: Number(row.attempts),
    lastError: row.last_error,
    lastAttemptAt: row.last_attempt_at_ms === null ? null : new Date(Number(row.last_attempt_at_ms)),
  }))
}

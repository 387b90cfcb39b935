import type { Lease, LeaseState, Leases } from '../core/ports/locker.ts'
import { Prisma } from '../generated/sqlite/client.ts'
import type { Dialect } from './dialect.ts'
import { surfacing } from './failures.ts'
import { inGroups } from './group.ts'
import { heldInOrder, inOrder, isLeaseAmong, isPlaceAmong, toPlace, toText } from './lease-rows.ts'
import type { Db } from './open.ts'
import type { Client } from './statements.ts'
import { persistently } from './transaction.ts'

/** Leases of one statement: six values each at most, and SQLite takes 32,766. */
const PER_STATEMENT = 1_000

interface Taking {
  lease: Lease
  ttlMs: number
}

type Renewed = Lease & { idle: boolean }

/** Leases in the ledger's database. Takings that arrive together share a statement, and so do releases. */
export function createLeases({ client: db, dialect }: Db, owner: string): Leases {
  const takings = inGroups(PER_STATEMENT, (all: Taking[]) => takeAll(db, dialect, owner, all))
  const releases = inGroups(PER_STATEMENT, (leases: Lease[]) => releaseAll(db, dialect, leases))

  return surfacing<Leases>({
    take: (lease, ttlMs) => takings.add({ lease, ttlMs }),
    renew: (leases, ttlMs) => renew(db, dialect, leases, ttlMs),
    release: (lease) => releases.add(lease),
    async ask(lease) {
      await db.$executeRaw`UPDATE leases SET wanted = ${true} WHERE ${isLeaseAmong([lease])}`
    },
    elsewhere: (id) => elsewhere(db, dialect, owner, id),
    sweep: (which) => sweep(db, dialect, which),
  })
}

/**
 * One INSERT whose conflicts are the places that have a row. It changes only those that are free, so of
 * two processes that come at once the second finds the first one's token.
 */
async function takeAll(
  db: Client,
  { nowMs }: Dialect,
  owner: string,
  takings: Taking[],
): Promise<(LeaseState | null)[]> {
  const ttlOf = new Map(takings.map(({ lease, ttlMs }) => [lease, ttlMs]))
  const rows = inOrder([...ttlOf.keys()]).map(
    (lease) => Prisma.sql`(
      ${lease.id}, ${toText(lease.place)}, ${owner}, ${lease.token},
      ${nowMs} + ${ttlOf.get(lease)}, ${false})`,
  )
  const taken = await persistently(
    () => db.$queryRaw<{ token: string }[]>`
      INSERT INTO leases (upload_id, place, owner, token, expires_at_ms, wanted)
      VALUES ${Prisma.join(rows)}
      ON CONFLICT (upload_id, place) DO UPDATE SET
        owner = excluded.owner, token = excluded.token, expires_at_ms = excluded.expires_at_ms,
        idle_since_ms = NULL, wanted = excluded.wanted
      WHERE leases.expires_at_ms <= ${nowMs} OR leases.owner = excluded.owner
      RETURNING token`,
  )
  const ours = new Set(taken.map(({ token }) => token))
  const refused = takings.map(({ lease }) => lease).filter(({ token }) => !ours.has(token))
  const states = await statesOf(db, nowMs, refused)
  return takings.map(({ lease }) =>
    ours.has(lease.token) ? null : (states.get(keyOf(lease)) ?? letGo(lease)),
  )
}

/** Let go between the two statements: free to be taken. */
const letGo = ({ place }: Lease): LeaseState => ({ place, token: '', expiresInMs: 0, idle: false })

const keyOf = ({ id, place }: Pick<Lease, 'id' | 'place'>): string => `${id} ${toText(place)}`

interface StateRow {
  upload_id: string
  place: string
  token: string
  left_ms: number
  idle: boolean | number
}

const STATE_COLUMNS = (nowMs: Prisma.Sql) =>
  Prisma.sql`upload_id, place, token, expires_at_ms - ${nowMs} AS left_ms, idle_since_ms IS NOT NULL AS idle`

const toState = (row: StateRow): LeaseState => ({
  place: toPlace(row.place),
  token: row.token,
  expiresInMs: row.left_ms,
  idle: Boolean(row.idle),
})

async function statesOf(
  db: Client,
  nowMs: Prisma.Sql,
  leases: readonly Lease[],
): Promise<Map<string, LeaseState>> {
  if (leases.length === 0) return new Map()
  const rows = await db.$queryRaw<StateRow[]>`
    SELECT ${STATE_COLUMNS(nowMs)} FROM leases WHERE ${isPlaceAmong(leases)}`
  return new Map(rows.map((row) => [`${row.upload_id} ${row.place}`, toState(row)]))
}

async function renew(
  db: Client,
  dialect: Dialect,
  leases: readonly Renewed[],
  ttlMs: number,
): Promise<Map<string, boolean>> {
  const wanted = new Map<string, boolean>()
  for (let done = 0; done < leases.length; done += PER_STATEMENT)
    for (const row of await renewSome(db, dialect, leases.slice(done, done + PER_STATEMENT), ttlMs))
      wanted.set(row.token, Boolean(row.wanted))
  return wanted
}

function renewSome(db: Client, dialect: Dialect, leases: readonly Renewed[], ttlMs: number) {
  const { nowMs } = dialect
  const idle = leases.filter((lease) => lease.idle).map(({ token }) => token)
  const idleSince =
    idle.length === 0
      ? Prisma.sql`NULL`
      : Prisma.sql`CASE WHEN token IN (${Prisma.join(idle)}) THEN COALESCE(idle_since_ms, ${nowMs}) END`
  return persistently(
    () => db.$queryRaw<{ token: string; wanted: boolean | number }[]>`
      UPDATE leases SET expires_at_ms = ${nowMs} + ${ttlMs}, idle_since_ms = ${idleSince}
      WHERE ${isOrderedAmong(dialect, leases)}
      RETURNING token, wanted`,
  )
}

async function releaseAll(db: Client, dialect: Dialect, leases: Lease[]): Promise<void[]> {
  await persistently(() => db.$executeRaw`DELETE FROM leases WHERE ${isOrderedAmong(dialect, leases)}`)
  return leases.map(() => undefined)
}

/** Condition: the row is one of these leases, which a statement then changes in the order in which commits hold them. */
const isOrderedAmong = (dialect: Dialect, leases: readonly Lease[]): Prisma.Sql =>
  dialect.locksRows
    ? Prisma.sql`(upload_id, place) IN (
        SELECT upload_id, place FROM leases WHERE ${isLeaseAmong(leases)} ${heldInOrder(dialect)})`
    : isLeaseAmong(leases)

async function elsewhere(db: Client, { nowMs }: Dialect, owner: string, id: string): Promise<LeaseState[]> {
  const rows = await db.$queryRaw<StateRow[]>`
    SELECT ${STATE_COLUMNS(nowMs)} FROM leases
    WHERE upload_id = ${id} AND owner <> ${owner} AND expires_at_ms > ${nowMs}`
  return rows.map(toState)
}

async function sweep(db: Client, { nowMs }: Dialect, which: { id: string } | { ms: number }): Promise<void> {
  const expired =
    'id' in which
      ? Prisma.sql`upload_id = ${which.id} AND expires_at_ms <= ${nowMs}`
      : Prisma.sql`expires_at_ms <= ${nowMs} - ${which.ms}`
  await persistently(() => db.$executeRaw`DELETE FROM leases WHERE ${expired}`)
}

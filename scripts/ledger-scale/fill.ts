import { randomUUID } from 'node:crypto'
import type { Status } from '../../src/core/upload.ts'
import { Prisma } from '../../src/generated/sqlite/client.ts'
import type { Db } from '../../src/ledger/open.ts'

/** Half of all uploads are theirs; the other half belongs to `small 0`, `small 1` and so on, 500 each. */
export const BIG_OWNER = 'big'

/** Uploads that are copied over and over. */
const TEMPLATES = 1_000
/** copies of all templates that one statement makes */
const COPIES_AT_A_TIME = 50
const SIZE = 5_000_000
const DAY_MS = 24 * 3600 * 1000

/** Of a thousand, as a server has them that has been busy for months. */
const SHARES: readonly (readonly [status: Status, count: number])[] = [
  ['COMPLETED', 920],
  ['IN_PROGRESS', 30],
  ['INITIATED', 20],
  ['ABORTED', 20],
  ['FAILED', 8],
  ['FINALIZING', 1],
  ['EXPIRING', 1],
]
const STATUSES = SHARES.flatMap(([status, count]) => Array.from({ length: count }, () => status))

const UPLOAD_COLUMNS = Prisma.raw(
  'dialect, file_name, file_size, chunk_size, status, metadata, "offset", stored_chunks, created_at, updated_at, expires_at',
)

/**
 * Fills an empty ledger. Of what is open or aborted a few have had their time, and so have most keys.
 * @param uploads a multiple of a thousand
 */
export async function fill(
  { client, dialect }: Db,
  uploads: number,
  onProgress: (made: number) => void = () => {},
): Promise<void> {
  const rows = STATUSES.map((status, i) => template(status, i))
  await client.$executeRaw`
    INSERT INTO uploads (id, owner_id, ${UPLOAD_COLUMNS}) VALUES ${Prisma.join(rows)}`
  await client.$executeRaw`CREATE TABLE templates AS SELECT * FROM uploads`
  const id = dialect.locksRows ? Prisma.sql`gen_random_uuid()` : SQLITE_UUID

  let made = TEMPLATES
  while (made < uploads) {
    const first = made / TEMPLATES
    const last = Math.min(first + COPIES_AT_A_TIME, uploads / TEMPLATES) - 1
    made += await client.$executeRaw`
      WITH RECURSIVE n(i) AS (SELECT ${whole(first)} UNION ALL SELECT i + 1 FROM n WHERE i < ${whole(last)})
      INSERT INTO uploads (id, owner_id, ${UPLOAD_COLUMNS})
      SELECT
        ${id}, CASE WHEN owner_id = ${BIG_OWNER} THEN owner_id ELSE 'small ' || CAST(i AS TEXT) END, ${UPLOAD_COLUMNS}
      FROM templates CROSS JOIN n`
    onProgress(made)
  }
  await client.$executeRaw`DROP TABLE templates`
  await client.$executeRaw`
    INSERT INTO chunks (upload_id, chunk_index, size, status, created_at, updated_at)
    SELECT id, 0, ${whole(SIZE)}, 'UPLOADED', created_at, updated_at FROM uploads WHERE stored_chunks > 0`
  await client.$executeRaw`
    INSERT INTO idempotency_keys (owner_id, key, fingerprint, expires_at)
    SELECT owner_id, id, id, expires_at FROM uploads WHERE id < '2'`
  // SQLite plans by the form of its indexes; PostgreSQL by what is in them, which it finds out by itself in a while.
  if (dialect.locksRows) await client.$executeRaw`ANALYZE`
}

const whole = (value: number): Prisma.Sql => Prisma.sql`CAST(${value} AS INTEGER)`

const SQLITE_UUID = Prisma.raw(`lower(
  hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-8' ||
  substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))`)

function template(status: Status, i: number): Prisma.Sql {
  const stored = status === 'COMPLETED' || status === 'IN_PROGRESS' || status === 'FINALIZING'
  const now = Date.now()
  const createdAt = new Date(now - (90 * DAY_MS * ((i * 7) % TEMPLATES)) / TEMPLATES)
  const expiresAt = new Date(now + leftMs(status, i))
  return Prisma.sql`(
    ${randomUUID()}, ${i % 2 ? BIG_OWNER : 'small 0'}, 'native', ${`file ${i}.bin`}, ${2 * SIZE}, ${SIZE}, ${status},
    '{"album":"x"}', ${stored ? SIZE : 0}, ${stored ? 1 : 0}, ${createdAt}, ${createdAt}, ${expiresAt})`
}

/** What is open expires within a day, and one in ten has; tombstones are kept for a week, and one in ten is older. */
function leftMs(status: Status, i: number): number {
  const one = i % 10 === 0
  if (status === 'INITIATED' || status === 'IN_PROGRESS') return one ? -i * 1000 : (DAY_MS * (i % 100)) / 100
  if (status === 'ABORTED') return one ? -8 * DAY_MS : (-6 * DAY_MS * (i % 10)) / 10
  return -DAY_MS
}

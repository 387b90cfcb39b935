import type { ListQuery } from '../core/ports/ledger.ts'
import { statusesShownAs, type Status, type Upload } from '../core/upload.ts'
import { Prisma } from '../generated/sqlite/client.ts'
import { fromCursor, toCursor, type Place } from './cursor.ts'
import { toUpload, UPLOAD_COLUMNS, type UploadRow } from './rows.ts'
import type { Client } from './statements.ts'

/** Later than any date in the tables: it turns "is not null" into a range that every index serves. */
export const END_OF_TIME = new Date('9999-12-31T23:59:59.999Z')
const BEFORE_ALL: Place = { createdAt: END_OF_TIME, id: '' }

export async function list(
  db: Client,
  { ownerId, status, limit, cursor }: ListQuery,
): Promise<{ uploads: Upload[]; nextCursor: string | null }> {
  const place = cursor === undefined ? BEFORE_ALL : fromCursor(cursor)
  const orders = status === undefined ? [byTime(place)] : statusesShownAs(status).map(withStatus(place))
  // One more than asked for tells whether there is a next page.
  const pages = orders.map(
    ({ behind, order }) => Prisma.sql`
      SELECT ${UPLOAD_COLUMNS} FROM uploads u
      WHERE u.owner_id = ${ownerId} AND ${behind} AND u.deleted_at IS NULL
      ORDER BY ${order}
      LIMIT ${limit + 1}`,
  )
  const rows = await db.$queryRaw<UploadRow[]>`
    ${merged(pages)} ORDER BY created_at DESC, id DESC LIMIT ${limit + 1}`

  const uploads = rows.slice(0, limit).map(toUpload)
  const last = uploads.at(-1)
  return { uploads, nextCursor: rows.length > limit && last ? toCursor(last) : null }
}

interface Order {
  behind: Prisma.Sql
  order: Prisma.Sql
}

const byTime = ({ createdAt, id }: Place): Order => ({
  behind: Prisma.sql`(u.created_at, u.id) < (${createdAt}, ${id})`,
  order: Prisma.sql`u.created_at DESC, u.id DESC`,
})

/**
 * A range of one status, and not that status, so that only one index has the order: with the other,
 * which may look as good, all that is newer and in another status would be read as well.
 */
const withStatus =
  ({ createdAt, id }: Place) =>
  (status: Status): Order => ({
    behind: Prisma.sql`u.status >= ${status} AND (u.status, u.created_at, u.id) < (${status}, ${createdAt}, ${id})`,
    order: Prisma.sql`u.status DESC, u.created_at DESC, u.id DESC`,
  })

/** Sorted and limited queries as one: each goes along its index, and only what they give is sorted again. */
export const merged = (queries: Prisma.Sql[]): Prisma.Sql =>
  Prisma.join(
    queries.map((query, i) => Prisma.sql`SELECT * FROM (${query}) AS ${Prisma.raw(`part${i}`)}`),
    ' UNION ALL ',
  )

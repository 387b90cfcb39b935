import type { Lease, Place } from '../core/ports/locker.ts'
import { Prisma } from '../generated/sqlite/client.ts'
import type { Dialect } from './dialect.ts'

/** A place in the column of that name. */
export const toText = (place: Place): string => String(place)

export const toPlace = (text: string): Place => (/^\d+$/.test(text) ? Number(text) : (text as Place))

type Key = Pick<Lease, 'id' | 'place'>

/** Behind a SELECT: holds its rows until the transaction ends, in the one order, so that no two deadlock. */
export const heldInOrder = ({ locksRows, forUpdate }: Dialect): Prisma.Sql =>
  locksRows ? Prisma.sql`ORDER BY upload_id, place ${forUpdate}` : Prisma.empty

/** The same order, for rows that one statement comes to after another. */
export const inOrder = <T extends Key>(leases: readonly T[]): T[] =>
  leases.toSorted((a, b) => compare(a.id, b.id) || compare(toText(a.place), toText(b.place)))

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** Condition: the row is one of these leases, still with its token. It goes along the primary key. */
export const isLeaseAmong = (leases: readonly Lease[]): Prisma.Sql => {
  const rows = leases.map(({ id, place, token }) => Prisma.sql`(${id}, ${toText(place)}, ${token})`)
  return Prisma.sql`(upload_id, place, token) IN (VALUES ${Prisma.join(rows)})`
}

/** Condition: the row is of one of these places, whoever holds it. */
export const isPlaceAmong = (places: readonly Key[]): Prisma.Sql => {
  const rows = places.map(({ id, place }) => Prisma.sql`(${id}, ${toText(place)})`)
  return Prisma.sql`(upload_id, place) IN (VALUES ${Prisma.join(rows)})`
}

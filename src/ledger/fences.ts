import type { Fence } from '../core/ports/locker.ts'
import type { Dialect } from './dialect.ts'
import { heldInOrder, inOrder, isLeaseAmong } from './lease-rows.ts'
import type { Client } from './statements.ts'

/** Leases of one statement: three values each, and SQLite takes 32,766. */
const PER_STATEMENT = 5_000

/** What is done to an upload under fences. */
interface Fenced {
  id: string
  fences?: readonly Fence[]
}

export interface Fences {
  /** Whether all fences of it still stand. An expired lease that nobody took since counts as well. */
  hold(fenced: Fenced): boolean
}

/**
 * Looks up which fences stand. They stay so until the transaction ends: who takes one of the places has
 * to wait that long. Nothing is asked where there are no fences.
 */
export async function fencesAmong(tx: Client, dialect: Dialect, all: readonly Fenced[]): Promise<Fences> {
  const leases = inOrder(all.flatMap(({ id, fences = [] }) => fences.map((fence) => ({ id, ...fence }))))
  const standing = new Set<string>()
  for (let done = 0; done < leases.length; done += PER_STATEMENT) {
    const rows = await tx.$queryRaw<{ token: string }[]>`
      SELECT token FROM leases WHERE ${isLeaseAmong(leases.slice(done, done + PER_STATEMENT))}
      ${heldInOrder(dialect)}`
    for (const { token } of rows) standing.add(token)
  }
  return { hold: ({ fences = [] }) => fences.every(({ token }) => standing.has(token)) }
}

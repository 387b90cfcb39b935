import { overQuota } from '../core/quota.ts'
import { Prisma } from '../generated/sqlite/client.ts'
import type { Dialect } from './dialect.ts'
import type { Client } from './statements.ts'
import { persistently } from './transaction.ts'

/**
 * What the uploads of each owner may take together. How much that is stands in a row of the owner, which is
 * changed in the transaction that changes an upload, behind it, and is held until its end: so owners wait
 * for themselves alone, and never for each other.
 */
export interface Quota {
  maxBytes: number
  /**
   * Counts a change that this transaction has made.
   * @throws {HttpError} payload_too_large 413: it goes past the quota, and the transaction must not stand
   */
  charge(tx: Client, ownerId: string, byBytes: number): Promise<void>
  /** How much the owner has left; nobody else changes that before the end of the transaction. */
  left(tx: Client, ownerId: string): Promise<number>
  /** Counts a change for which there is room, or that needs none. */
  adjust(tx: Client, ownerId: string, byBytes: number): Promise<void>
}

export function createQuota(maxBytes: number): Quota {
  return {
    maxBytes,
    async charge(tx, ownerId, byBytes) {
      if (byBytes < 0) return adjust(tx, ownerId, byBytes)
      if (byBytes === 0 || (await take(tx, ownerId, byBytes, maxBytes))) return
      // Not counted yet, or no room. What is counted only now has the change in it.
      const before = await held(tx, ownerId)
      const bytes = before === null ? await sum(tx, ownerId) : before + byBytes
      if (bytes > maxBytes) throw overQuota(maxBytes)
      await set(tx, ownerId, bytes)
    },
    async left(tx, ownerId) {
      const counted = await held(tx, ownerId)
      if (counted !== null) return maxBytes - counted
      const bytes = await sum(tx, ownerId)
      if (Number.isSafeInteger(bytes)) await set(tx, ownerId, bytes)
      return maxBytes - bytes
    },
    adjust,
  }
}

/** Nothing that was counted counts any more: uploads may have come and gone without it. */
export const forgetUsage = async (db: Client, { forUpdate }: Dialect): Promise<void> => {
  await persistently(
    () => db.$executeRaw`
      DELETE FROM owner_usage
      WHERE owner_id IN (SELECT owner_id FROM owner_usage ORDER BY owner_id ${forUpdate})`,
  )
}

/** The common case. False where there is no room, or nothing was counted. */
async function take(tx: Client, ownerId: string, bytes: number, maxBytes: number): Promise<boolean> {
  const taken = await tx.$executeRaw`
    UPDATE owner_usage SET bytes = bytes + ${bytes}
    WHERE owner_id = ${ownerId} AND bytes + ${bytes} <= ${maxBytes}`
  return taken === 1
}

/** Leaves a row in any case: whoever counts meanwhile must wait for this transaction. */
async function adjust(tx: Client, ownerId: string, byBytes: number): Promise<void> {
  await tx.$executeRaw`
    INSERT INTO owner_usage (owner_id, bytes) VALUES (${ownerId}, NULL)
    ON CONFLICT (owner_id) DO UPDATE SET bytes = owner_usage.bytes + ${byBytes}`
}

/** The owner's row, made where there is none, and held until the end of the transaction. @returns null: not counted */
async function held(tx: Client, ownerId: string): Promise<number | null> {
  const rows = await tx.$queryRaw<{ bytes: number | null }[]>`
    INSERT INTO owner_usage (owner_id, bytes) VALUES (${ownerId}, NULL)
    ON CONFLICT (owner_id) DO UPDATE SET bytes = owner_usage.bytes
    RETURNING bytes`
  const bytes = rows[0]?.bytes ?? null
  return bytes === null ? null : bytes
}

const set = (tx: Client, ownerId: string, bytes: number) =>
  tx.$executeRaw`UPDATE owner_usage SET bytes = ${bytes} WHERE owner_id = ${ownerId}`

/** `reservedBytes` in SQL. As a double: the sum of lengths may be more than any whole number holds. */
const RESERVED = Prisma.sql`
  CAST(COALESCE(file_size, stored_chunks * chunk_size + "offset" % chunk_size) AS DOUBLE PRECISION)`

async function sum(tx: Client, ownerId: string): Promise<number> {
  const rows = await tx.$queryRaw<{ bytes: number | null }[]>`
    SELECT SUM(${RESERVED}) AS bytes FROM uploads
    WHERE owner_id = ${ownerId} AND status IN ('INITIATED', 'IN_PROGRESS', 'FINALIZING', 'COMPLETED')
      AND deleted_at IS NULL`
  return rows[0]?.bytes ?? 0
}

import type { Done, Key } from '../core/ports/ledger.ts'
import type { Upload } from '../core/upload.ts'
import type { Dialect } from './dialect.ts'
import { toUpload, UPLOAD_COLUMNS, type UploadRow } from './rows.ts'
import type { Client } from './statements.ts'
import { persistently } from './transaction.ts'

/** A row of `idempotency_keys`, under names that no upload has; null where there is none. */
interface KeyColumns {
  fingerprint: string | null
  answer: string | null
  kept_until: Date
}

type Look = { [column in keyof UploadRow]: UploadRow[column] | null } & KeyColumns

/** An upload and a key by one statement: whoever brings a key reads no more often than others. */
export async function look(
  db: Client,
  id: string | null,
  { ownerId, key }: Key,
  now: Date,
): Promise<{ upload: Upload | null; done: Done | null }> {
  const rows = await db.$queryRaw<Look[]>`
    SELECT k.fingerprint, k.answer, k.expires_at AS kept_until, ${UPLOAD_COLUMNS}
    FROM (SELECT 1 AS one) AS always
    LEFT JOIN idempotency_keys k ON k.owner_id = ${ownerId} AND k.key = ${key} AND k.expires_at > ${now}
    LEFT JOIN uploads u ON u.id = ${id} AND u.deleted_at IS NULL`
  const row = rows[0] as Look
  const { fingerprint, answer, kept_until: expiresAt } = row
  return {
    upload: row.id === null ? null : toUpload(row as UploadRow),
    done: fingerprint === null ? null : { ownerId, key, fingerprint, answer, expiresAt },
  }
}

/** Takes the key unless it stands for something at `now`; waits for another transaction that takes it. */
export async function note(db: Client, done: Done, now: Date): Promise<boolean> {
  const noted = await db.$executeRaw`
    INSERT INTO idempotency_keys (owner_id, key, fingerprint, answer, expires_at)
    VALUES (${done.ownerId}, ${done.key}, ${done.fingerprint}, ${done.answer}, ${done.expiresAt})
    ON CONFLICT (owner_id, key) DO UPDATE SET
      fingerprint = excluded.fingerprint, answer = excluded.answer, expires_at = excluded.expires_at
    WHERE idempotency_keys.expires_at <= ${now}`
  return noted === 1
}

/** The oldest first, held in one order: several processes do this. */
export async function forget(db: Client, { forUpdate }: Dialect, now: Date, limit: number): Promise<number> {
  // As a rule there is none, and looking takes no lock.
  const due = await db.$queryRaw<unknown[]>`
    SELECT 1 FROM idempotency_keys WHERE expires_at <= ${now} ORDER BY expires_at LIMIT 1`
  if (due.length === 0) return 0
  return persistently(
    () => db.$executeRaw`
      DELETE FROM idempotency_keys WHERE (owner_id, key) IN (
        SELECT owner_id, key FROM idempotency_keys WHERE expires_at <= ${now}
        ORDER BY expires_at LIMIT ${limit} ${forUpdate})`,
  )
}

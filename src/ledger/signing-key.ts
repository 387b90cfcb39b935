import type { SigningKey } from '../core/ports/ledger.ts'
import type { Client } from './statements.ts'

/** What the one row of `signing_keys` is called. */
const NAME = 'links'

interface KeyRow {
  key_id: string
  secret: string
}

/** The key that is there; where there is none, `fresh`, or what another process was quicker to keep. */
export async function signingKey(db: Client, fresh: SigningKey): Promise<SigningKey> {
  const kept = await find(db)
  if (kept) return kept
  await db.$executeRaw`
    INSERT INTO signing_keys (name, key_id, secret, created_at)
    VALUES (${NAME}, ${fresh.id}, ${fresh.secret}, ${new Date()})
    ON CONFLICT (name) DO NOTHING`
  const first = await find(db)
  if (!first) throw new Error('the signing key was removed while it was made')
  return first
}

async function find(db: Client): Promise<SigningKey | null> {
  const rows = await db.$queryRaw<KeyRow[]>`SELECT key_id, secret FROM signing_keys WHERE name = ${NAME}`
  return rows[0] ? { id: rows[0].key_id, secret: rows[0].secret } : null
}

import { z } from 'zod'
import type { SigningKey } from '../core/ports/ledger.ts'

/** As many bytes as the hash has: RFC 2104 section 3 discourages fewer. */
const MIN_SECRET_BYTES = 32

/** `id:secret,id2:secret2`; the id ends at the first colon. */
export const linkKeys = z
  .string()
  .transform((text): SigningKey[] =>
    text
      .split(',')
      .map((item) => item.trim())
      .filter(Boolean)
      .map((item) => {
        const [id = '', ...secret] = item.split(':')
        return { id, secret: secret.join(':') }
      }),
  )
  .refine((keys) =>
    keys.every(({ id, secret }) => /^[\w-]{1,32}$/.test(id) && Buffer.byteLength(secret) >= MIN_SECRET_BYTES),
  )
  .refine((keys) => new Set(keys.map(({ id }) => id)).size === keys.length)

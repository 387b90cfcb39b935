import { randomBytes } from 'node:crypto'
import type { SigningKey, UploadLedger } from '../core/ports/ledger.ts'

/** The keys that count; the first one signs. */
export type SigningKeys = () => Promise<readonly [SigningKey, ...SigningKey[]]>

/**
 * The configured keys. Where there are none, the key that all servers on the ledger share: asked for when
 * somebody needs it, and then known for as long as the process runs.
 */
export function signingKeys(
  configured: readonly SigningKey[],
  ledger: Pick<UploadLedger, 'signingKey'>,
): SigningKeys {
  const [first, ...others] = configured
  if (first) return async () => [first, ...others]

  let known: ReturnType<SigningKeys> | null = null
  const load: SigningKeys = async () => {
    try {
      return [await ledger.signingKey(freshKey())]
    } catch (error) {
      known = null
      throw error
    }
  }
  return () => (known ??= load())
}

const freshKey = (): SigningKey => ({
  id: randomBytes(6).toString('base64url'),
  secret: randomBytes(32).toString('base64url'),
})

import { createHmac, timingSafeEqual } from 'node:crypto'
import type { SigningKey } from '../core/ports/ledger.ts'
import type { SigningKeys } from './signing-keys.ts'

/** Signs short texts, and knows them again. What is signed can be read by everybody. */
export interface Signer {
  /**
   * One text of what it is for, the key and the fields, with the proof behind them.
   * @param purpose with its version: what was signed for one counts for no other
   * @param fields none has a dot, which parts them
   */
  sign(purpose: string, fields: readonly string[]): Promise<string>
  /** @returns the fields; null unless one of our keys has signed exactly this */
  verify(purpose: string, text: string): Promise<string[] | null>
}

/** Longer ones were not made here. */
const MAX_LENGTH = 300

/** By HMAC-SHA256 (RFC 2104), over everything that stands before the proof. */
export const createSigner = (keys: SigningKeys): Signer => ({
  async sign(purpose, fields) {
    const [key] = await keys()
    const said = [purpose, key.id, ...fields].join('.')
    return `${said}.${proofOf(key, said)}`
  },
  async verify(purpose, text) {
    if (text.length > MAX_LENGTH || !text.startsWith(`${purpose}.`)) return null
    const [, keyId, ...fields] = text.split('.')
    const key = (await keys()).find(({ id }) => id === keyId)
    const given = fields.pop()
    if (!key || given === undefined) return null
    const said = text.slice(0, text.length - given.length - 1)
    return sameText(given, proofOf(key, said)) ? fields : null
  },
})

const proofOf = ({ secret }: SigningKey, said: string): string =>
  createHmac('sha256', secret).update(said).digest('base64url')

/** As texts: base64url has several for the same bytes, and only the one that we wrote is to count. */
function sameText(given: string, right: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(right)]
  return a.length === b.length && timingSafeEqual(a, b)
}

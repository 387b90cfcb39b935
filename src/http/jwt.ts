import { errors, jwtVerify } from 'jose'
import type { JwtRules } from '../config/config.ts'

/** Clocks differ by so much. */
const CLOCK_TOLERANCE_SECONDS = 5
/** What a token may be long; one that brings more was not made for us. */
const MAX_TOKEN_LENGTH = 8 * 1024
/** Printable, with no white space at its ends: a name that logs and databases keep as it is. */
const SANE_USER = /^(?=\S)(?!.*\s$)[^\p{C}\p{Zl}\p{Zp}]{1,255}$/u

/** Who a token speaks of, or why it does not count. */
export type Verdict = { userId: string } | { cause: unknown }

/**
 * Verifies tokens (RFC 7519) by the one algorithm that was configured: what a token says of its own
 * algorithm chooses nothing (RFC 8725 section 3.1). It must expire, and its `sub` is the user.
 */
export function createJwtVerifier(rules: JwtRules): (token: string) => Promise<Verdict> {
  const { algorithm, key, audience, issuer } = rules
  const options = {
    algorithms: [algorithm],
    clockTolerance: CLOCK_TOLERANCE_SECONDS,
    requiredClaims: ['exp', 'sub'],
    ...(audience !== null && { audience }),
    ...(issuer !== null && { issuer }),
  }
  return async (token) => {
    if (token.length > MAX_TOKEN_LENGTH) return { cause: new errors.JWTInvalid('too long') }
    try {
      const { payload } = await jwtVerify(token, key, options)
      const { sub } = payload as { sub: unknown }
      if (typeof sub === 'string' && SANE_USER.test(sub)) return { userId: sub }
      return { cause: new errors.JWTInvalid('"sub" is no user') }
    } catch (error) {
      return { cause: error }
    }
  }
}

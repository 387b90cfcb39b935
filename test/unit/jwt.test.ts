import { createSecretKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { SignJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import { createJwtVerifier } from '../../src/http/jwt.ts'
import { JWT_ALGORITHMS, readJwtKey, type JwtAlgorithm } from '../../src/config/jwt-key.ts'

interface Pair {
  signs: KeyObject
  /** as JWT_SECRET has it */
  secret: string
}

const SECRET = 'x'.repeat(64)
const pairOf = ({ privateKey, publicKey }: { privateKey: KeyObject; publicKey: KeyObject }): Pair => ({
  signs: privateKey,
  secret: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
})
const rsa = pairOf(generateKeyPairSync('rsa', { modulusLength: 2048 }))
const ec = (namedCurve: string) => pairOf(generateKeyPairSync('ec', { namedCurve }))
const shared = { signs: createSecretKey(SECRET, 'utf8'), secret: SECRET }

const PAIRS: Record<JwtAlgorithm, Pair> = {
  HS256: shared,
  HS384: shared,
  HS512: shared,
  RS256: rsa,
  RS384: rsa,
  RS512: rsa,
  PS256: rsa,
  PS384: rsa,
  PS512: rsa,
  ES256: ec('P-256'),
  ES384: ec('P-384'),
  ES512: ec('P-521'),
  EdDSA: pairOf(generateKeyPairSync('ed25519')),
}

const sign = (alg: JwtAlgorithm): Promise<string> =>
  new SignJWT({ sub: 'ada' }).setProtectedHeader({ alg }).setExpirationTime('1h').sign(PAIRS[alg].signs)

const verifierOf = (algorithm: JwtAlgorithm) => {
  const key = readJwtKey(algorithm, PAIRS[algorithm].secret)
  if ('mustBe' in key) throw new Error(key.mustBe)
  return createJwtVerifier({ algorithm, key, audience: null, issuer: null })
}

describe.each(JWT_ALGORITHMS)('with JWT_ALGORITHM %s', (algorithm) => {
  it('a token of it counts, and one of any other does not, though the key be the same', async () => {
    const verify = verifierOf(algorithm)
    const tokens = await Promise.all(JWT_ALGORITHMS.map(async (other) => [other, await sign(other)] as const))
    for (const [other, token] of tokens) {
      const verdict = await verify(token)
      if (other === algorithm) expect(verdict).toEqual({ userId: 'ada' })
      else expect([other, verdict]).toEqual([other, { cause: expect.any(Error) }])
    }
  })
})

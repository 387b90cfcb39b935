import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { ConfigError, parseConfig } from '../../src/config/config.ts'

type Env = Record<string, string | undefined>

const complaints = (env: Env): string[] => {
  try {
    parseConfig({ AUTH_MODE: 'jwt', ...env })
    return []
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as Error).message.split('\n')
  }
}
const jwtOf = (env: Env) => parseConfig({ AUTH_MODE: 'jwt', ...env }).jwt

const SECRET = 'a'.repeat(64)
const rsa = (modulusLength = 2048) => generateKeyPairSync('rsa', { modulusLength })
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve })
const pem = (key: KeyObject) => key.export({ format: 'pem', type: 'spki' }).toString()
const jwk = (key: KeyObject) => JSON.stringify(key.export({ format: 'jwk' }))

describe('tokens', () => {
  it('are not taken unless AUTH_MODE says so, and then JWT_SECRET is not looked at', () => {
    expect(parseConfig({ JWT_SECRET: 'short' }).jwt).toBeNull()
  })

  it.each(['jwt', 'hybrid'])('need JWT_SECRET with AUTH_MODE %s', (mode) => {
    expect(complaints({ AUTH_MODE: mode })).toEqual([
      'JWT_SECRET must be set when AUTH_MODE is jwt or hybrid',
    ])
  })

  it('have HS256 when nothing else is said, any audience and any issuer', () => {
    const jwt = jwtOf({ JWT_SECRET: SECRET })
    expect(jwt).toMatchObject({ algorithm: 'HS256', audience: null, issuer: null })
    expect(jwt?.key.export().toString()).toBe(SECRET)
    expect(jwtOf({ JWT_SECRET: SECRET, JWT_AUDIENCE: 'up', JWT_ISSUER: 'https://id' })).toMatchObject({
      audience: 'up',
      issuer: 'https://id',
    })
  })

  it.each([
    ['HS256', 32],
    ['HS384', 48],
    ['HS512', 64],
  ])('of %s need a secret of %i bytes, in UTF-8', (algorithm, bytes) => {
    const env = (secret: string) => ({ JWT_ALGORITHM: algorithm, JWT_SECRET: secret })
    expect(jwtOf(env('a'.repeat(bytes)))?.algorithm).toBe(algorithm)
    expect(jwtOf(env('ä'.repeat(bytes / 2)))?.algorithm).toBe(algorithm)
    const short = 'a'.repeat(bytes - 1)
    const [line, ...more] = complaints(env(short))
    expect(line).toBe(`JWT_SECRET must be a secret of at least ${bytes} bytes for ${algorithm}`)
    expect(more).toEqual([])
  })

  it.each([
    ['RS256', rsa().publicKey],
    ['PS512', rsa(3072).publicKey],
    ['ES256', ec('P-256').publicKey],
    ['ES384', ec('P-384').publicKey],
    ['ES512', ec('P-521').publicKey],
    ['EdDSA', generateKeyPairSync('ed25519').publicKey],
  ])('of %s take a public key as PEM, also on one line, and as JWK', (algorithm, key) => {
    for (const text of [pem(key), pem(key).replaceAll('\n', String.raw`\n`), jwk(key)]) {
      const jwt = jwtOf({ JWT_ALGORITHM: algorithm, JWT_SECRET: text })
      expect(jwt?.key.type).toBe('public')
      expect(jwt?.key.equals(key)).toBe(true)
    }
  })

  const pair = rsa()
  it.each([
    ['a secret for RS256', 'RS256', SECRET, 'a public key (PEM or JWK) for RS256: RSA of at least 2048 bits'],
    [
      'an RSA key that is too short',
      'RS256',
      pem(rsa(1024).publicKey),
      'a public key (PEM or JWK) for RS256',
    ],
    ['a key of another kind', 'RS256', pem(ec('P-256').publicKey), 'a public key (PEM or JWK) for RS256'],
    ['a key of another curve', 'ES384', pem(ec('P-256').publicKey), 'EC on the curve secp384r1'],
    ['no key for EdDSA', 'EdDSA', pem(pair.publicKey), 'a public key (PEM or JWK) for EdDSA: Ed25519'],
    [
      'a private key',
      'RS256',
      pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      'a public key (PEM or JWK) for RS256',
    ],
    ['a private JWK', 'RS256', jwk(pair.privateKey), 'a public key (PEM or JWK) for RS256'],
    ['a broken PEM', 'RS256', pem(pair.publicKey).slice(0, 100), 'a public key (PEM or JWK) for RS256'],
    ['a broken JWK', 'RS256', '{"kty":"RSA"', 'a public key (PEM or JWK) for RS256'],
    ['a public key as the secret of HS256', 'HS256', pem(pair.publicKey), 'a secret of at least 32 bytes'],
    ['a JWK as the secret of HS256', 'HS256', jwk(pair.publicKey), 'a secret of at least 32 bytes'],
  ])(
    'refuse to start with %s, and say what it must be but not what it is',
    (_what, algorithm, text, must) => {
      const [line = '', ...more] = complaints({ JWT_ALGORITHM: algorithm, JWT_SECRET: text })
      expect(line).toMatch(/^JWT_SECRET must be /)
      expect(line).toContain(must)
      expect(line).not.toContain(text.slice(0, 20))
      expect(more).toEqual([])
    },
  )

  it.each(['none', 'hs256', 'HS256,RS256', 'RSA'])(
    'of algorithm %s are refused, in one line',
    (algorithm) => {
      const lines = complaints({ JWT_ALGORITHM: algorithm, JWT_SECRET: SECRET })
      expect(lines).toEqual([expect.stringMatching(/^JWT_ALGORITHM must be HS256, .*EdDSA$/)])
    },
  )
})

describe('API keys', () => {
  it('are not taken with AUTH_MODE jwt: not the given ones, and least of all the well-known one', () => {
    const config = parseConfig({ AUTH_MODE: 'jwt', JWT_SECRET: SECRET, API_KEY_MAPPINGS: 'k:ada' })
    expect(config.apiKeys.size).toBe(0)
    const without = parseConfig({ AUTH_MODE: 'jwt', JWT_SECRET: SECRET, NODE_ENV: 'production' })
    expect([without.apiKeys.size, without.developmentKeys]).toEqual([0, false])
  })

  it('are taken beside tokens with AUTH_MODE hybrid, and must be given in production then', () => {
    const env = { AUTH_MODE: 'hybrid', JWT_SECRET: SECRET }
    expect(parseConfig({ ...env, API_KEY_MAPPINGS: 'k:ada' }).apiKeys).toEqual(new Map([['k', 'ada']]))
    expect(parseConfig(env).developmentKeys).toBe(true)
    expect(complaints({ ...env, NODE_ENV: 'production' })).toEqual([
      expect.stringMatching(/^API_KEY_MAPPINGS must be set/),
    ])
  })
})

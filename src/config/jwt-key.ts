import { createPublicKey, createSecretKey, type JsonWebKey, type KeyObject } from 'node:crypto'

/**
 * What each algorithm wants of its key (RFC 7518 sections 3.2 to 3.5, RFC 8037): a secret as long as the
 * hash, or a public key of one kind.
 */
const ALGORITHMS = {
  HS256: { secretBytes: 32 },
  HS384: { secretBytes: 48 },
  HS512: { secretBytes: 64 },
  RS256: { kind: 'rsa' },
  RS384: { kind: 'rsa' },
  RS512: { kind: 'rsa' },
  PS256: { kind: 'rsa' },
  PS384: { kind: 'rsa' },
  PS512: { kind: 'rsa' },
  ES256: { kind: 'ec', curve: 'prime256v1' },
  ES384: { kind: 'ec', curve: 'secp384r1' },
  ES512: { kind: 'ec', curve: 'secp521r1' },
  EdDSA: { kind: 'ed25519' },
} as const satisfies Record<string, { secretBytes: number } | { kind: string; curve?: string }>

export type JwtAlgorithm = keyof typeof ALGORITHMS
export const JWT_ALGORITHMS = Object.keys(ALGORITHMS) as JwtAlgorithm[]

const LEAST_RSA_BITS = 2048

/**
 * The key that tokens of one algorithm are verified by. A public key is never taken for a secret, which
 * everybody would know then, nor a private key for a public one.
 * @param text a secret, or a public key as PEM (with line ends, or `\n` for them) or as a JWK
 * @returns the key, or what the text must be
 */
export function readJwtKey(algorithm: JwtAlgorithm, text: string): KeyObject | { mustBe: string } {
  const wanted: { secretBytes?: number; kind?: string; curve?: string } = ALGORITHMS[algorithm]
  const looksLikeKey = /^\s*(-----BEGIN |\{)/.test(text)
  if (wanted.secretBytes !== undefined) {
    const isSecret = !looksLikeKey && Buffer.byteLength(text) >= wanted.secretBytes
    if (isSecret) return createSecretKey(text, 'utf8')
    return { mustBe: `a secret of at least ${wanted.secretBytes} bytes for ${algorithm}` }
  }
  const key = looksLikeKey ? publicKey(text) : null
  const { modulusLength = 0, namedCurve } = key?.asymmetricKeyDetails ?? {}
  const fits =
    key?.asymmetricKeyType === wanted.kind &&
    namedCurve === wanted.curve &&
    (wanted.kind !== 'rsa' || modulusLength >= LEAST_RSA_BITS)
  if (key && fits) return key
  return { mustBe: `a public key (PEM or JWK) for ${algorithm}: ${wordsOf(wanted)}` }
}

function wordsOf({ kind, curve }: { kind?: string; curve?: string }): string {
  if (kind === 'rsa') return `RSA of at least ${LEAST_RSA_BITS} bits`
  return curve ? `EC on the curve ${curve}` : 'Ed25519'
}

/** null for what is none. Node would take a private key, too, and make the public one of it. */
function publicKey(text: string): KeyObject | null {
  try {
    if (!text.trimStart().startsWith('{')) {
      return text.includes('PRIVATE KEY') ? null : createPublicKey(text.replaceAll('\\n', '\n'))
    }
    const jwk = JSON.parse(text) as JsonWebKey
    return jwk.d === undefined ? createPublicKey({ key: jwk, format: 'jwk' }) : null
  } catch {
    return null
  }
}

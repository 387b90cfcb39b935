import { createHmac, sign, type KeyObject } from 'node:crypto'
import { clientOf, type Client } from './client.ts'

export const JWT_SECRET = 'a secret of tests that is long enough, even for HS512: it has 72 bytes!!'

const base64url = (value: string | Uint8Array) => Buffer.from(value).toString('base64url')

export const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds

/** Everything of a token as the test wants it, also what no library would make. */
export function tokenOf(
  claims: object | string,
  header: object = { alg: 'HS256', typ: 'JWT' },
  signature: (signed: string) => Uint8Array = hmac('sha256', JWT_SECRET),
): string {
  const payload = typeof claims === 'string' ? claims : JSON.stringify(claims)
  const signed = `${base64url(JSON.stringify(header))}.${base64url(payload)}`
  return `${signed}.${base64url(signature(signed))}`
}

export const hmac = (hash: string, secret: string | KeyObject) => (signed: string) =>
  createHmac(hash, secret).update(signed).digest()

export const rsaSignature = (key: KeyObject) => (signed: string) => sign('sha256', Buffer.from(signed), key)

/** A token that is valid for an hour. */
export const tokenFor = (sub: string, more: object = {}): string =>
  tokenOf({ sub, exp: inSeconds(3600), ...more })

export const bearer = (token: string) => ({ Authorization: `Bearer ${token}` })

/** Somebody who has nothing but the token. */
export const holderOf =
  (url: string, token: string): Client =>
  (method, path, request) =>
    clientOf(url, null)(method, path, { ...request, headers: { ...request?.headers, ...bearer(token) } })

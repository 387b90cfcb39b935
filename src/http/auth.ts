import type { IncomingHttpHeaders } from 'node:http'
import type { Config } from '../config/config.ts'
import { createKeyring } from './api-keys.ts'
import { createJwtVerifier } from './jwt.ts'

/** Somebody whom we know. */
export interface Caller {
  userId: string
  /** what their requests are counted by: the key, or the user of a token; never a secret */
  countedBy: string
}

/** Somebody whom we don't know. */
export interface Stranger {
  userId: null
  /** the key or token that did not count; null when there was none */
  presented: string | null
  cause?: unknown
}

/** Finds out who sends a request. Without a promise where no token has to be verified. */
export type Authenticate = (headers: IncomingHttpHeaders) => Caller | Stranger | Promise<Caller | Stranger>

/**
 * By AUTH_MODE: a key in X-API-Key or as a bearer, a token as a bearer, or any of these. A key in
 * X-API-Key is the one that counts.
 */
export function createAuthenticator({
  authMode,
  apiKeys,
  jwt,
}: Pick<Config, 'authMode' | 'apiKeys' | 'jwt'>): Authenticate {
  const holderOf = createKeyring(apiKeys)
  const verify = jwt && createJwtVerifier(jwt)

  const byToken = async (token: string): Promise<Caller | Stranger> => {
    const verdict = (await verify?.(token)) ?? { cause: undefined }
    if ('cause' in verdict) return { userId: null, presented: token, cause: verdict.cause }
    return { userId: verdict.userId, countedBy: `user ${verdict.userId}` }
  }

  return (headers) => {
    const key = authMode === 'jwt' ? null : keyIn(headers)
    const bearer = bearerOf(headers.authorization)
    const presented = key ?? bearer
    if (presented === null) return { userId: null, presented }
    const holder = holderOf(presented)
    if (holder) return { userId: holder.userId, countedBy: holder.keyName }
    return key === null && verify ? byToken(presented) : { userId: null, presented }
  }
}

const keyIn = (headers: IncomingHttpHeaders): string | null => {
  const key = headers['x-api-key']
  return typeof key === 'string' && key !== '' ? key : null
}

/** The credentials of `Authorization: Bearer` (RFC 6750 section 2.1). */
export const bearerOf = (header: string | undefined): string | null =>
  /^bearer +(\S+)$/i.exec(header ?? '')?.[1] ?? null

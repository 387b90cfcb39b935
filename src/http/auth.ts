import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { HttpError } from '../core/errors.ts'

const hash = (key: string) => createHash('sha256').update(key).digest()

/**
 * Finds the user of an API key. Keys are compared by hash, in constant time and all of them, so that
 * neither the time nor the answer tells anything about a key.
 */
export function createAuthenticator(apiKeys: ReadonlyMap<string, string>) {
  const known = [...apiKeys].map(([key, userId]) => ({ hash: hash(key), userId }))

  /** @throws {HttpError} missing_api_key 401, the same for a missing and an unknown key */
  return (headers: IncomingHttpHeaders): string => {
    const given = hash(presentedKey(headers) ?? '')
    let user: string | undefined
    for (const entry of known) if (timingSafeEqual(entry.hash, given)) user = entry.userId
    if (user === undefined)
      throw new HttpError('missing_api_key', { headers: { 'WWW-Authenticate': 'Bearer' } })
    return user
  }
}

export type Authenticate = ReturnType<typeof createAuthenticator>

function presentedKey(headers: IncomingHttpHeaders): string | undefined {
  const key = headers['x-api-key']
  if (typeof key === 'string' && key !== '') return key
  return /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1]
}

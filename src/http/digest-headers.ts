import { HttpError } from '../core/errors.ts'

/**
 * `X-Chunk-SHA256: <hex>`.
 * @returns lower-case hex, null when the header is absent
 * @throws {HttpError} bad_request 400
 */
export function parseHexDigest(header: string | undefined): string | null {
  if (header === undefined) return null
  if (!/^[0-9a-fA-F]{64}$/.test(header))
    throw new HttpError('bad_request', { detail: 'X-Chunk-SHA256 must be 64 hexadecimal digits.' })
  return header.toLowerCase()
}

/**
 * `Content-Digest: sha-256=:<base64>:`, among others that are left alone (RFC 9530 section 2). Where
 * a key comes twice, the last one counts (RFC 9651 section 3.2).
 * @returns lower-case hex, null when no SHA-256 is given
 * @throws {HttpError} bad_request 400
 */
export function parseContentDigest(header: string | undefined): string | null {
  const member = header?.split(',').findLast((part) => /^\s*sha-256\s*=/i.test(part))
  if (member === undefined) return null
  const digest = /=\s*:([A-Za-z0-9+/]{43}=):\s*(;.*)?$/.exec(member)?.[1]
  if (digest === undefined)
    throw new HttpError('bad_request', { detail: 'Content-Digest must be sha-256=:<base64 of 32 bytes>:.' })
  return Buffer.from(digest, 'base64').toString('hex')
}

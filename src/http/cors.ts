import type { IncomingMessage, ServerResponse } from 'node:http'

/** What a page may send. */
const REQUEST_HEADERS = [
  'Authorization',
  'Content-Type',
  'Content-Digest',
  'Idempotency-Key',
  'If-Match',
  'If-Modified-Since',
  'If-None-Match',
  'If-Range',
  'If-Unmodified-Since',
  'Range',
  'Tus-Resumable',
  'Upload-Checksum',
  'Upload-Concat',
  'Upload-Defer-Length',
  'Upload-Length',
  'Upload-Metadata',
  'Upload-Offset',
  'X-API-Key',
  'X-Chunk-SHA256',
  'X-HTTP-Method-Override',
  'X-Request-ID',
  'X-Requested-With',
]

/** What a page may read of an answer. */
const RESPONSE_HEADERS = [
  'Accept-Ranges',
  'Content-Disposition',
  'Content-Length',
  'Content-Range',
  'ETag',
  'Last-Modified',
  'Location',
  'Retry-After',
  'Tus-Checksum-Algorithm',
  'Tus-Extension',
  'Tus-Max-Size',
  'Tus-Resumable',
  'Tus-Version',
  'Upload-Concat',
  'Upload-Defer-Length',
  'Upload-Expires',
  'Upload-Length',
  'Upload-Metadata',
  'Upload-Offset',
  'X-RateLimit-Reason',
  'X-Request-ID',
  'X-Tus-Location',
]

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'
const PREFLIGHT_SECONDS = 86_400

/**
 * Lets pages of the listed origins in (https://fetch.spec.whatwg.org/#http-cors-protocol). Keys come in
 * headers and never as cookies, so credentials are allowed to nobody.
 * @returns true when the request was a preflight and is answered
 */
export function applyCors(
  req: IncomingMessage,
  res: ServerResponse,
  allowedOrigins: readonly string[],
): boolean {
  if (allowedOrigins.length === 0) return false
  const origin = allowedOrigin(req.headers.origin, allowedOrigins)
  if (!allowedOrigins.includes('*')) res.appendHeader('Vary', 'Origin')
  if (origin === null) return false
  res.setHeader('Access-Control-Allow-Origin', origin)
  res.setHeader('Access-Control-Expose-Headers', RESPONSE_HEADERS.join(', '))
  if (req.method !== 'OPTIONS' || req.headers['access-control-request-method'] === undefined) return false

  res.setHeader('Access-Control-Allow-Methods', METHODS)
  res.setHeader('Access-Control-Allow-Headers', REQUEST_HEADERS.join(', '))
  res.setHeader('Access-Control-Max-Age', String(PREFLIGHT_SECONDS))
  res.writeHead(204).end()
  return true
}

/** The value of Access-Control-Allow-Origin; null for an origin that is not listed. */
function allowedOrigin(origin: string | undefined, allowedOrigins: readonly string[]): string | null {
  if (allowedOrigins.includes('*')) return '*'
  return origin !== undefined && allowedOrigins.includes(origin) ? origin : null
}

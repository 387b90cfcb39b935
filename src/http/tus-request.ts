import type { IncomingMessage } from 'node:http'
import { HttpError } from '../core/errors.ts'
import { APPEND_TYPE, MAX_METADATA_BYTES } from '../core/tus.ts'
import { announcedLength } from './body.ts'

const OVERRIDES = new Set(['PATCH', 'DELETE', 'HEAD'])

/**
 * A client behind a proxy that knows only GET and POST says what it means in a header. Applied before
 * routing, so that guards and limits see the method that counts.
 * @see https://tus.io/protocols/resumable-upload#x-http-method-override
 */
export function overrideMethod(req: IncomingMessage): void {
  if (req.method !== 'POST' || !req.url?.startsWith('/files/')) return
  const wanted = String(req.headers['x-http-method-override'] ?? '').toUpperCase()
  if (OVERRIDES.has(wanted)) req.method = wanted
}

/** Whether a creation brings bytes along (creation-with-upload). */
export const bringsBytes = (req: IncomingMessage): boolean =>
  req.headers['content-type'] === APPEND_TYPE && announcedLength(req) !== 0

/**
 * Makes of the headers what @tus/server takes: an empty Upload-Metadata is no metadata; forwarded
 * headers count only when the proxy is trusted, and then the value next to the client; and the body of
 * a creation is ours to read.
 * @throws {HttpError} bad_request 400
 */
export function normalise(req: IncomingMessage, trustProxy: boolean): void {
  const metadata = req.headers['upload-metadata']
  if (metadata !== undefined && Buffer.byteLength(String(metadata)) > MAX_METADATA_BYTES)
    throw new HttpError('bad_request', {
      detail: `Upload-Metadata must be ${MAX_METADATA_BYTES} bytes at most.`,
    })
  if (metadata === '') setHeader(req, 'upload-metadata', null)
  if (req.method === 'POST') setHeader(req, 'content-type', null)
  const proto = trustProxy ? firstValue(req.headers['x-forwarded-proto']).toLowerCase() : ''
  setHeader(req, 'x-forwarded-proto', proto === 'http' || proto === 'https' ? proto : null)
  setHeader(req, 'x-forwarded-host', (trustProxy && firstValue(req.headers['x-forwarded-host'])) || null)
  if (!trustProxy) setHeader(req, 'forwarded', null)
}

const firstValue = (header: string | string[] | undefined): string =>
  String(header ?? '')
    .split(',')[0]
    ?.trim() ?? ''

/** Sets a header (null: takes it out) in both forms that node keeps. */
function setHeader(req: IncomingMessage, name: string, value: string | null): void {
  if (req.headers[name] === undefined) return
  const raw: string[] = []
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const key = req.rawHeaders[i] ?? ''
    if (key.toLowerCase() !== name) raw.push(key, req.rawHeaders[i + 1] ?? '')
  }
  if (value === null) delete req.headers[name]
  else {
    req.headers[name] = value
    raw.push(name, value)
  }
  req.rawHeaders = raw
}

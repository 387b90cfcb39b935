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
  if (req.method !== 'POST' || !/^(https?:\/\/[^/]+)?\/files\//.test(req.url ?? '')) return
  const wanted = String(req.headers['x-http-method-override'] ?? '').toUpperCase()
  if (OVERRIDES.has(wanted)) req.method = wanted
}

/** Whether a creation brings bytes along (creation-with-upload). */
export const bringsBytes = (req: IncomingMessage): boolean =>
  req.headers['content-type'] === APPEND_TYPE && announcedLength(req) !== 0

/** Headers of an answer. */
export type TusHeaders = Readonly<Record<string, string>>

/** A header that a request has once, or not. */
export const headerOf = (req: IncomingMessage, name: string): string | undefined => {
  const value = req.headers[name]
  return value === undefined ? undefined : String(value)
}

/** What of a request @tus/server has to see. */
const HANDED_ON = ['tus-resumable', 'upload-length', 'upload-defer-length', 'upload-offset', 'upload-concat']

/** Upload-Metadata without the space behind its commas that some clients send; empty when there is none. */
export const metadataIn = (req: IncomingMessage): string =>
  String(req.headers['upload-metadata'] ?? '').replaceAll(', ', ',')

/**
 * As much of a request as @tus/server looks at: the headers that it validates, and no body, which is ours
 * to read. A whole Request, with its signal and its streams, costs as much as all that is done with it.
 * An empty Upload-Metadata is no metadata.
 * @param id the upload that the guards let the caller to; no other id in the URL counts
 * @throws {HttpError} bad_request 400
 */
export function toWebRequest(req: IncomingMessage, id: string): Request {
  const headers = new Headers()
  for (const name of HANDED_ON) {
    const value = req.headers[name]
    if (value !== undefined) headers.set(name, String(value))
  }
  const metadata = metadataIn(req)
  if (metadata) headers.set('upload-metadata', metadata)
  if (Buffer.byteLength(metadata) > MAX_METADATA_BYTES)
    throw new HttpError('bad_request', {
      detail: `Upload-Metadata must be ${MAX_METADATA_BYTES} bytes at most.`,
    })
  return { url: `http://localhost/files/${id}`, method: req.method ?? 'GET', headers, body: null } as Request
}

/** A name or an address, and perhaps a port: nothing that could lead a URL elsewhere. */
const HOST = /^([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?$/

/**
 * The scheme and host that the client used, such as `https://up.example.com`; empty when they can't be
 * told, and a relative URL has to do.
 * @param trustProxy whether forwarded headers count: the value next to the client (RFC 7239 section 4)
 */
export function originOf(req: IncomingMessage, trustProxy: boolean): string {
  const forwarded = trustProxy ? forwardedBy(req) : {}
  const proto = (forwarded.proto ?? 'http').toLowerCase()
  const host = forwarded.host ?? req.headers.host ?? ''
  return (proto === 'http' || proto === 'https') && HOST.test(host) ? `${proto}://${host}` : ''
}

function forwardedBy(req: IncomingMessage): { proto?: string | undefined; host?: string | undefined } {
  const header = firstOf(req.headers.forwarded)
  if (header === undefined)
    return {
      proto: firstOf(req.headers['x-forwarded-proto']),
      host: firstOf(req.headers['x-forwarded-host']),
    }
  const parameter = (name: string) =>
    new RegExp(`(?:^|;)\\s*${name}="?([^";]+)"?\\s*(?:;|$)`, 'i').exec(header)?.[1]?.trim()
  return { proto: parameter('proto'), host: parameter('host') }
}

const firstOf = (header: string | string[] | undefined): string | undefined =>
  String(header ?? '')
    .split(',')[0]
    ?.trim() || undefined

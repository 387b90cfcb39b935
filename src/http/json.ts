import { HttpError } from '../core/errors.ts'
import { announcedLength } from './body.ts'
import type { Guard, OpenBody } from './exchange.ts'
import { none } from './guards.ts'

const MAX_BYTES = 64 * 1024

/**
 * A JSON body, parsed. Refused before it is read when it is too long or something else.
 * @throws {HttpError} unsupported_media_type 415, payload_too_large 413, bad_request 400
 */
export const json =
  (openBody: OpenBody): Guard =>
  async (exchange) => {
    const { req } = exchange
    const encoding = req.get('content-encoding') ?? 'identity'
    if (!req.is('application/json') || encoding.toLowerCase() !== 'identity')
      throw new HttpError('unsupported_media_type')
    if ((announcedLength(req) ?? 0) > MAX_BYTES) throw tooLong()

    const body = openBody(exchange)
    const pieces: Uint8Array[] = []
    let bytes = 0
    for (let batch = await body.take(MAX_BYTES); batch; batch = await body.take(MAX_BYTES)) {
      pieces.push(...batch)
      bytes += batch.reduce((sum, piece) => sum + piece.length, 0)
      if (bytes > MAX_BYTES) throw tooLong()
    }
    if (body.cause) throw body.cause
    req.body = parse(Buffer.concat(pieces))
  }

/** A JSON body, or none: then nothing is asked for but what is usual. */
export const maybeJson =
  (openBody: OpenBody): Guard =>
  (exchange) => {
    if (announcedLength(exchange.req) !== 0) return json(openBody)(exchange)
    exchange.req.body = {}
    return none(exchange)
  }

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new HttpError('bad_request', { detail: 'The body is not valid JSON.', cause: error })
  }
}

const tooLong = () =>
  new HttpError('payload_too_large', { detail: `The JSON must be ${MAX_BYTES} bytes at most.` })

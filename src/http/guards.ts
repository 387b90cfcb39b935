import { randomUUID } from 'node:crypto'
import express, { type Request, type Response } from 'express'
import { HttpError } from '../core/errors.ts'
import type { Gate } from '../core/ports.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import type { Authenticate } from './auth.ts'
import type { Exchange, Guard } from './exchange.ts'
import { bringsBytes } from './tus-request.ts'

/** Anybody, without a key. */
export const nobody: Guard = () => {}

/** Any holder of a key. What is created belongs to that user, under an id that is chosen here. */
export const anyUser =
  (authenticate: Authenticate): Guard =>
  (exchange) => {
    exchange.userId = authenticate(exchange.req.headers)
    exchange.uploadId = randomUUID()
  }

/** Any holder of a key, for what is about no single upload. */
export const anyReader =
  (authenticate: Authenticate): Guard =>
  (exchange) => {
    exchange.userId = authenticate(exchange.req.headers)
  }

/** The owner of the upload in `:id`. */
export const owner =
  (authenticate: Authenticate, uploads: Uploads): Guard =>
  async (exchange) => {
    exchange.userId = authenticate(exchange.req.headers)
    const id = exchange.req.params['id']
    if (typeof id !== 'string') throw new HttpError('not_found')
    await uploads.authorise(id, exchange.userId)
    exchange.uploadId = id
  }

/** No body is read. */
export const none: Guard = () => {}

/** A body of bytes: admitted by the gate before a byte of it is read. */
export const body =
  (gate: Gate): Guard =>
  (exchange) => {
    exchange.admission = gate.admit(exchange.userId, exchange.uploadId)
  }

/** A body of bytes that may be absent (creation-with-upload). */
export const maybeBody =
  (gate: Gate): Guard =>
  (exchange) =>
    bringsBytes(exchange.req) ? body(gate)(exchange) : undefined

const JSON_BYTES = 64 * 1024

/** A JSON body, parsed. */
export function json(): Guard {
  const parse = express.json({ limit: JSON_BYTES, strict: false })
  return async (exchange) => {
    const { req, res } = exchange
    if (!req.is('application/json')) throw new HttpError('unsupported_media_type')
    if (req.headers.expect) res.writeContinue()
    await run(parse, exchange)
  }
}

type Parser = (req: Request, res: Response, next: (error?: unknown) => void) => void

const run = (parse: Parser, { req, res }: Exchange) =>
  new Promise<void>((resolve, reject) =>
    parse(req, res, (error) => (error === undefined ? resolve() : reject(jsonError(error)))),
  )

/** body-parser's errors carry the status that they deserve. */
function jsonError(error: unknown): HttpError {
  const { status, type } = error as { status?: number; type?: string }
  if (type === 'request.aborted') return new HttpError('client_closed', { cause: error })
  if (status === 413)
    return new HttpError('payload_too_large', { detail: `The JSON must be ${JSON_BYTES} bytes at most.` })
  if (status === 415) return new HttpError('unsupported_media_type')
  return new HttpError('bad_request', { detail: 'The body is not valid JSON.', cause: error })
}

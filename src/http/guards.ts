import { randomUUID } from 'node:crypto'
import { HttpError } from '../core/errors.ts'
import type { Gate } from '../core/ports.ts'
import { isUploadId } from '../core/upload.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import type { Authenticate } from './auth.ts'
import { answerEarly } from './early.ts'
import type { Guard } from './exchange.ts'
import { bringsBytes } from './tus-request.ts'

/** Anybody, without a key. */
export const nobody: Guard = () => {}

/** Any holder of a key. What is created belongs to that user, under an id that is chosen here. */
export const anyUser =
  (authenticate: Authenticate): Guard =>
  (exchange) => {
    exchange.userId = authenticate(exchange.req.headers)
    exchange.newId = randomUUID()
  }

/** The owner of the upload in `:id`. */
export const owner =
  (authenticate: Authenticate, uploads: Uploads): Guard =>
  async (exchange) => {
    exchange.userId = authenticate(exchange.req.headers)
    const id = exchange.req.params['id']
    if (typeof id !== 'string' || !isUploadId(id)) throw new HttpError('not_found')
    exchange.uploadId = id
    await uploads.authorise(id, exchange.userId)
  }

/** No body is read: one that comes all the same does not get in the way of the next request. */
export const none: Guard = ({ req, res }) => answerEarly(req, res)

/** A body of bytes: admitted by the gate before a byte of it is read. */
export const body =
  (gate: Gate): Guard =>
  (exchange) => {
    exchange.admission = gate.admit(exchange.userId, exchange.uploadId || exchange.newId)
  }

/** A body of bytes that may be absent (creation-with-upload). */
export const maybeBody =
  (gate: Gate): Guard =>
  (exchange) =>
    (bringsBytes(exchange.req) ? body(gate) : none)(exchange)

import { randomUUID } from 'node:crypto'
import { HttpError } from '../core/errors.ts'
import type { Gate } from '../core/ports/gate.ts'
import { isUploadId } from '../core/upload.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import { answerEarly } from './early.ts'
import type { Exchange, PlainGuard } from './exchange.ts'
import type { Identify } from './identify.ts'
import { bringsBytes } from './tus-request.ts'

/** Anybody, without a key. */
export const nobody: PlainGuard = () => {}

/** Anybody whom we know. What is created belongs to that user, under an id that is chosen here. */
export const anyUser =
  (identify: PlainGuard): PlainGuard =>
  async (exchange) => {
    await identify(exchange)
    exchange.newId = randomUUID()
  }

/** The owner of the upload in `:id`. */
export const owner =
  (identify: PlainGuard, uploads: Uploads): PlainGuard =>
  async (exchange) => {
    await identify(exchange)
    await uploads.authorise(noteUpload(exchange), exchange.userId)
  }

/** Its owner, or whoever holds a token for it. */
export const sender =
  (identify: Identify, uploads: Uploads): PlainGuard =>
  async (exchange) => {
    const allowed = await identify(exchange)
    const id = noteUpload(exchange)
    exchange.byUploadToken = allowed !== null
    if (allowed === null) await uploads.authorise(id, exchange.userId)
    else if (allowed !== id) throw new HttpError('forbidden', { detail: 'The token is for another upload.' })
  }

/** A user, by a key or token that is theirs: one for a single upload is not enough. */
export const user =
  (identify: Identify): PlainGuard =>
  (exchange) => {
    const allowed = identify(exchange)
    return allowed instanceof Promise ? allowed.then(refuseHolder) : refuseHolder(allowed)
  }

function refuseHolder(allowed: string | null): void {
  if (allowed !== null)
    throw new HttpError('forbidden', { detail: 'The token is for sending the bytes of one upload.' })
}

/** @throws {HttpError} not_found 404 for anything but an id */
function noteUpload(exchange: Exchange): string {
  const id = exchange.params['id']
  if (typeof id !== 'string' || !isUploadId(id)) throw new HttpError('not_found')
  exchange.uploadId = id
  return id
}

/** An administrator. */
export const admin =
  (identify: PlainGuard, adminUserIds: readonly string[]): PlainGuard =>
  async (exchange) => {
    await identify(exchange)
    if (!adminUserIds.includes(exchange.userId))
      throw new HttpError('forbidden', { detail: 'This is for administrators.' })
  }

/** No body is read: one that comes all the same does not get in the way of the next request. */
export const none: PlainGuard = ({ req, res }) => answerEarly(req, res)

/** A body of bytes: admitted by the gate before a byte of it is read. */
export const body =
  (gate: Gate): PlainGuard =>
  (exchange) => {
    exchange.admission = gate.admit(exchange.userId, uploadOf(exchange))
  }

/**
 * A body of bytes that waits unread, for a while, where as many are open as may be: tus clients give up
 * after a few refusals, so they are held back instead.
 */
export const patientBody =
  (gate: Gate): PlainGuard =>
  async (exchange) => {
    const { socket } = exchange.req
    const place = gate.admitInTurn(exchange.userId, uploadOf(exchange))
    if (!('admitted' in place)) {
      exchange.admission = place
      return
    }
    const leave = () => place.giveUp(new HttpError('client_closed'))
    // The socket's: a response that waits behind a pipelined one is never told. Paused, so that not even
    // the pieces gather that node reads ahead.
    socket.once('close', leave).pause()
    try {
      exchange.admission = await place.admitted
    } finally {
      socket.off('close', leave).resume()
    }
  }

/** A body of bytes that may be absent (creation-with-upload). */
export const maybeBody =
  (gate: Gate): PlainGuard =>
  (exchange) =>
    (bringsBytes(exchange.req) ? patientBody(gate) : none)(exchange)

const uploadOf = ({ uploadId, newId }: Exchange): string => uploadId || newId

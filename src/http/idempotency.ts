import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { HttpError } from '../core/errors.ts'
import type { Once } from '../core/ports/ledger.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import { asker, type Exchange, type Guard } from './exchange.ts'

/**
 * What a request with an Idempotency-Key asks for, so that its repetition is known again; null without one.
 * @param asked whatever makes another request of it when it differs; JSON
 * @throws {HttpError} bad_request 400
 */
export function onceOf(exchange: Exchange, ...asked: unknown[]): Once | null {
  const key = idempotencyKey(exchange.req)
  if (key === null) return null
  const fingerprint = createHash('sha256').update(canonical(asked)).digest('hex')
  return { ownerId: asker(exchange), key, fingerprint }
}

function idempotencyKey(req: IncomingMessage): string | null {
  const given = req.headersDistinct['idempotency-key']
  if (given === undefined) return null
  const [key = ''] = given
  if (given.length > 1 || !/^[\x20-\x7e]{1,255}$/.test(key))
    throw new HttpError('bad_request', {
      detail: 'Idempotency-Key must be one, of 1 to 255 printable ASCII characters.',
    })
  return key
}

/** JSON that is the same whatever order the fields of an object came in. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_field, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  )

/**
 * Lets in whom `guard` lets in. Where the upload is gone by now, also who has done this very request
 * before: that was the owner, and gets the same answer again.
 */
export const orAgain =
  (guard: Guard, uploads: Uploads, onceOf: (exchange: Exchange) => Once | null): Guard =>
  async (exchange) => {
    try {
      await guard(exchange)
    } catch (error) {
      const gone = error instanceof HttpError && error.code === 'not_found' && exchange.uploadId !== ''
      const once = gone ? onceOf(exchange) : null
      if (!once || !(await uploads.wasDone(once))) throw error
    }
  }

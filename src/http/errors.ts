import type { z } from 'zod'
import { statusOf, toHttpError, type ErrorCode, type HttpError } from '../core/errors.ts'
import { answerEarly } from './early.ts'
import { errorPage } from './error-page.ts'
import type { errorAnswer } from './error-schema.ts'
import type { Exchange, ExpressExchange } from './exchange.ts'

/** The codes that only tus knows, as the native API names them. */
const NATIVE_CODES: Partial<Record<ErrorCode, ErrorCode>> = {
  offset_mismatch: 'conflict',
  storage_lost: 'conflict',
  invalid_patch_type: 'unsupported_media_type',
  // A chunk whose turn does not come is a matter of trying again.
  locked: 'unavailable',
}

/** A code as the native API tells it: one of its own, with the status of that. */
export const nativeCode = (code: ErrorCode): ErrorCode => NATIVE_CODES[code] ?? code

/** Answers an error on the native API, as JSON. */
export function sendNativeError(exchange: ExpressExchange, thrown: unknown): void {
  const { res, requestId, traceId, uploadId } = exchange
  const error = prepare(exchange, thrown)
  if (!error) return
  const code = nativeCode(error.code)
  const answer: z.output<typeof errorAnswer> = {
    detail: error.message,
    error_code: code,
    request_id: requestId,
    upload_id: uploadId || null,
    trace_id: traceId,
  }
  res.status(statusOf(code)).json(answer)
}

/** Whoever follows a link may be a person: who prefers a page gets one, with no more in it than the JSON has. */
export function sendLinkError(exchange: ExpressExchange, thrown: unknown): void {
  const { req, res, requestId } = exchange
  res.vary('Accept')
  if (req.method === 'HEAD' || req.accepts(['json', 'html']) !== 'html')
    return sendNativeError(exchange, thrown)
  const error = prepare(exchange, thrown)
  if (!error) return
  res.status(statusOf(nativeCode(error.code)))
  res.set('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'")
  res.type('html').send(errorPage(error.message, requestId))
}

/** Answers an error on a tus route, as plain text. */
export function sendTusError(exchange: Exchange, thrown: unknown): void {
  const { req, res } = exchange
  const error = prepare(exchange, thrown)
  if (!error) return
  res.setHeader('Tus-Resumable', '1.0.0')
  if (error.status === 412) res.setHeader('Tus-Version', '1.0.0')
  res.statusCode = tusStatus(req.method ?? '', error.status)
  // Without a length: behind a method override node still frames the answer to a POST.
  if (req.method === 'HEAD') {
    res.end()
    return
  }
  const text = `${error.message}\n`
  res.setHeader('Content-Type', 'text/plain; charset=utf-8')
  res.setHeader('Content-Length', Buffer.byteLength(text))
  res.end(text)
}

/**
 * The common tus clients retry a 503 and give up on a 429; and tus-js-client starts from zero on any
 * failed HEAD but a 423, so a HEAD that may succeed later says that.
 */
export function tusStatus(method: string, status: number): number {
  if (method === 'HEAD' && (status === 429 || status >= 500)) return 423
  return status === 429 ? 503 : status
}

/** Notes the failure and sets its headers. @returns null when there is nobody left to answer */
function prepare(exchange: Exchange, thrown: unknown): HttpError | null {
  const { req, res } = exchange
  exchange.failure = thrown
  const error = toHttpError(thrown)
  if (error.code === 'client_closed' || res.headersSent || res.destroyed) {
    res.destroy()
    return null
  }
  answerEarly(req, res)
  for (const [name, value] of Object.entries(error.headers)) res.setHeader(name, value)
  return error
}

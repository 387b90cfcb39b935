import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { traceIdOf } from '../core/traceparent.ts'
import type { RequestLine } from '../observe/log.ts'
import type { RequestTrace } from '../observe/tracing.ts'
import { announcedLength } from './body.ts'
import type { Exchange } from './exchange.ts'
import { headerOf } from './tus-request.ts'

const SANE_ID = /^[\w.:-]{1,128}$/

interface Opening {
  /** the pattern */
  route: string
  params: Exchange['params']
  trace: RequestTrace | null
}

/**
 * Begins an exchange: its answer has an X-Request-ID from now on.
 * @param onRequest told when it is over, once
 */
export function openExchange<Q extends IncomingMessage, S extends ServerResponse>(
  req: Q,
  res: S,
  { route, params, trace }: Opening,
  onRequest: (line: RequestLine, exchange: Exchange) => void,
): Exchange & { req: Q; res: S } {
  const started = performance.now()
  const given = headerOf(req, 'x-request-id')
  const requestId = given !== undefined && SANE_ID.test(given) ? given : randomUUID()
  res.setHeader('X-Request-ID', requestId)
  const exchange: Exchange & { req: Q; res: S } = {
    req,
    res,
    params,
    requestId,
    traceId: trace ? trace.traceId : traceIdOf(headerOf(req, 'traceparent')),
    route,
    userId: '',
    uploadId: '',
    newId: '',
    byUploadToken: false,
    asAttachment: false,
    admission: null,
    download: null,
    failure: undefined,
  }
  // A response that waits behind a pipelined one is never told that its connection is gone.
  const { socket } = req
  let isOver = false
  const over = () => {
    // Both may be told at once.
    if (isOver) return
    isOver = true
    res.off('close', over)
    socket.off('close', over)
    const { traceId, userId, uploadId, download, failure } = exchange
    const line: RequestLine = {
      requestId,
      traceId,
      method: req.method ?? '',
      route,
      status: res.writableFinished ? res.statusCode : 499,
      ms: performance.now() - started,
      userId,
      uploadId,
      bodyBytes: announcedLength(req),
      download,
      failure,
    }
    trace?.end(line)
    onRequest(line, exchange)
  }
  res.once('close', over)
  socket.setMaxListeners(0).once('close', over)
  return exchange
}

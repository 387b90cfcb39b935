import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import type { Answer, Call, Rules } from './call.ts'
import { S3Error } from './error.ts'
import type { Files } from './files.ts'
import { HANDLERS, NOT_IN_R2 } from './handlers.ts'
import { allHeaders, checkHeaders } from './headers.ts'
import { targetOf } from './operation.ts'
import { toRequest, type RequestLog, type S3Request } from './request-log.ts'
import { verifySignature, type Credentials } from './signature.ts'
import type { State } from './state.ts'
import { errorDocument } from './xml.ts'

interface Context {
  rules: Rules
  state: State
  files: Files
  credentials: Credentials
  log: RequestLog
}

const MAX_KEY_BYTES = 1024
/** R2 takes them for `auto`. */
const R2_REGIONS = ['auto', 'us-east-1', '']

/** Answers a request. `expects`: its body waits for "100 Continue", which it gets only when it is wanted. */
export const serveWith =
  (context: Context) =>
  async (req: IncomingMessage, res: ServerResponse, expects: boolean): Promise<void> => {
    const request = toRequest(req.method ?? '', req.url ?? '', req.headers)
    context.log.requests.push(request)
    let waits = expects
    const body = () => {
      if (waits) res.writeContinue()
      waits = false
      // Refused in the middle of its body, a request still gets an answer.
      return req.iterator({ destroyOnReturn: false })
    }
    try {
      await send(req, res, request, await handle(req, context, body))
    } catch (error) {
      await refuse(req, res, request, { error, waits }).catch(() => res.destroy())
    }
  }

async function handle(req: IncomingMessage, context: Context, body: Call['body']): Promise<Answer> {
  const { rules, state, files, credentials } = context
  const method = req.method ?? ''
  const { operation, path, bucket, key, query } = targetOf(method, req.url ?? '', req.headers)
  const headers = allHeaders(req.headers, query)
  const regions = rules.r2 ? R2_REGIONS : [rules.region]
  const payload = verifySignature({ method, path, query, headers }, credentials, regions)
  if (operation === null || (rules.r2 && NOT_IN_R2.includes(operation))) throw new S3Error('NotImplemented')
  checkHeaders(headers, operation, rules.r2)
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) throw new S3Error('KeyTooLongError')
  const call: Call = { bucket, key, query, headers, payload, body, rules, state, files }
  return await HANDLERS[operation](call)
}

async function send(req: IncomingMessage, res: ServerResponse, request: S3Request, answer: Answer) {
  const { status, headers = {}, body = '' } = answer
  // A body that nobody asked for stands in the way of the next request.
  if (!req.readableEnded) req.resume()
  request.status = status
  const text = typeof body === 'string'
  const length = text && req.method !== 'HEAD' ? { 'content-length': Buffer.byteLength(body) } : {}
  res.writeHead(status, { 'x-amz-request-id': randomUUID(), ...length, ...headers })
  if (req.method === 'HEAD' || text) res.end(text ? body : undefined)
  else await pipeline(Readable.from(body, { objectMode: false }), res)
}

/** `waits`: the client has not sent its body, and need not. */
async function refuse(
  req: IncomingMessage,
  res: ServerResponse,
  request: S3Request,
  { error, waits }: { error: unknown; waits: boolean },
): Promise<void> {
  const gone = req.socket.destroyed || (req.destroyed && !req.complete)
  if (res.headersSent || gone) {
    res.destroy()
    return
  }
  const { code, status, message } = asS3Error(error)
  request.status = status
  request.code = code
  if (!waits && !req.readableEnded && !req.destroyed) await finished(req.resume())
  const empty = req.method === 'HEAD' || status === 304
  const id = randomUUID()
  const body = empty
    ? ''
    : errorDocument({ Code: code, Message: message, Resource: req.url ?? '', RequestId: id })
  res.writeHead(status, {
    'x-amz-request-id': id,
    ...(empty ? {} : { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(body) }),
    ...(waits ? { connection: 'close' } : {}),
  })
  res.end(body)
}

function asS3Error(error: unknown): S3Error {
  if (error instanceof S3Error) return error
  // decodeURIComponent's, of a copy source.
  if (error instanceof URIError) return new S3Error('InvalidArgument', 'the name is not well encoded')
  // A fault of this server: whoever runs the test wants to see it.
  console.error(error)
  return new S3Error('InternalError')
}

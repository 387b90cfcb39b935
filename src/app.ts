import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import express, { type Express, type Request, type Response } from 'express'
import { HttpError, unavailable } from './core/errors.ts'
import type { Gate } from './core/ports/gate.ts'
import { serveAsset, servePage, type ConsoleFiles } from './http/console.ts'
import { applyCors } from './http/cors.ts'
import { downloadOf, serveFile } from './http/download.ts'
import { openapi } from './http/documents.ts'
import { sendLinkError, sendNativeError, sendTusError } from './http/errors.ts'
import type { EventStreams } from './http/event-stream.ts'
import { watchList, watchUpload } from './http/events.ts'
import type {
  Exchange,
  ExpressExchange,
  Guard,
  Handler,
  OpenBody,
  PlainGuard,
  PlainHandler,
} from './http/exchange.ts'
import * as may from './http/guards.ts'
import { openExchange } from './http/open-exchange.ts'
import { orAgain } from './http/idempotency.ts'
import { identifier, type Identification } from './http/identify.ts'
import { json as jsonBody, maybeJson as maybeJsonBody } from './http/json.ts'
import { followLink, linkHolder, makeLink, type LinkOptions } from './http/links.ts'
import { showLimits, type Limits, type Load } from './http/limits.ts'
import * as native from './http/native.ts'
import * as operate from './http/operations.ts'
import * as reference from './http/reference.ts'
import { isStraight, straightOr, type Serve } from './http/straight.ts'
import { overrideMethod } from './http/tus-request.ts'
import { createTus, type TusOptions } from './http/tus.ts'
import { unlessGone } from './http/unless-gone.ts'
import { makeToken } from './http/upload-tokens.ts'
import * as webhooks from './http/webhooks.ts'
import type { RequestLine } from './observe/log.ts'
import type { OpenTrace, RequestTrace } from './observe/tracing.ts'
import type { Uploads } from './uploads/use-cases.ts'

export interface App {
  uploads: Uploads
  gate: Gate
  identification: Identification
  adminUserIds: readonly string[]
  openBody: OpenBody
  tus: TusOptions
  /** for links, and for tokens of single uploads */
  links: LinkOptions
  corsAllowedOrigins: readonly string[]
  operations: operate.Operations
  deadLetters: webhooks.DeadLetters
  metricsToken: string | null
  limits: Limits
  load: () => Load
  eventStreams: EventStreams
  console: ConsoleFiles
  /** how long a client may not take a byte of its download */
  stallTimeoutMs: number
  /** null when nothing is traced */
  openTrace: OpenTrace | null
  /** told of every request before it is worked on; what it gives is told when that is over. null when nobody asks */
  onWork: ((exchange: Exchange) => () => void) | null
  /** told of every request when it is over */
  onRequest: (line: RequestLine, exchange: Exchange) => void
}

export type Method = 'OPTIONS' | 'HEAD' | 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
export type Route = readonly [method: Method, path: string, who: Guard, admission: Guard, does: Handler]
type PlainRoute = readonly [Method, path: string, who: PlainGuard, admission: PlainGuard, does: PlainHandler]

/** The front door: every route, who may come, what admits its body, and what it does. */
export function routes({
  uploads,
  gate,
  identification,
  adminUserIds,
  openBody,
  tus,
  links,
  operations,
  deadLetters,
  metricsToken,
  limits,
  load,
  eventStreams,
  console,
  stallTimeoutMs,
}: App): Route[] {
  const { nobody, none } = may
  const recognise = identifier(identification)
  const identify = may.user(recognise)
  const anyUser = may.anyUser(identify)
  const owner = may.owner(identify, uploads)
  const sender = may.sender(recognise, uploads)
  /** Who may send; and where the upload is gone, who was it, for what is asked again under the same key. */
  const again = {
    chunk: orAgain(sender, uploads, native.chunkOnce),
    complete: orAgain(sender, uploads, native.completeOnce),
  }
  const admin = may.admin(identify, adminUserIds)
  const json = jsonBody(openBody)
  const maybeJson = maybeJsonBody(openBody)
  const body = may.body(gate)
  const patientBody = may.patientBody(gate)
  const maybeBody = may.maybeBody(gate)
  const scraper = operate.scraper(metricsToken)
  const speakTus = createTus(uploads, openBody, tus)
  const download = downloads(uploads, stallTimeoutMs)
  const linked = followLink(uploads, stallTimeoutMs)

  // prettier-ignore
  const table: Route[] = [
    ['OPTIONS', '/files{/:id}',                  nobody,    none,      speakTus],
    ['POST',    '/files',                        anyUser,   maybeBody, speakTus],
    ['HEAD',    '/files/:id',                    sender,    none,      speakTus],
    ['PATCH',   '/files/:id',                    sender,    patientBody, speakTus],
    ['DELETE',  '/files/:id',                    owner,     none,      speakTus],
    ['GET',     '/files/:id',                    owner,     none,      download],

    ['POST',    '/v1/uploads/init',              anyUser,   json,      native.init(uploads)],
    ['GET',     '/v1/uploads',                   anyUser,   none,      native.listUploads(uploads)],
    ['GET',     '/v1/uploads/:id',               sender,    none,      native.showUpload(uploads)],
    ['DELETE',  '/v1/uploads/:id',               owner,     none,      native.removeUpload(uploads)],
    ['PUT',     '/v1/uploads/:id/chunks/:index', again.chunk, body,   native.putChunk(uploads, openBody)],
    ['DELETE',  '/v1/uploads/:id/chunks/:index', owner,     none,      native.freeChunk(uploads)],
    ['GET',     '/v1/uploads/:id/missing-chunks', sender,   none,      native.missingChunks(uploads)],
    ['POST',    '/v1/uploads/:id/complete',      again.complete, none, native.complete(uploads)],
    ['HEAD',    '/v1/uploads/:id/download',      owner,     none,      download],
    ['GET',     '/v1/uploads/:id/download',      owner,     none,      download],

    ['POST',    '/v1/uploads/:id/links',         owner,     maybeJson, makeLink(uploads, links, tus)],
    ['POST',    '/v1/uploads/:id/tokens',        owner,     maybeJson, makeToken(uploads, links, tus)],
    ['HEAD',    '/v1/links/:token',              linkHolder(links, identification), none, linked],
    ['GET',     '/v1/links/:token',              linkHolder(links, identification), none, linked],
    ['GET',     '/v1/uploads/:id/events',        sender,    none,      watchUpload(uploads, eventStreams)],
    ['GET',     '/v1/events',                    anyUser,   none,      watchList(uploads, eventStreams, load)],
    ['GET',     '/v1/limits',                    anyUser,   none,      showLimits(limits, load)],

    ['POST',    '/v1/admin/cleanup',             admin,     none,      operate.cleanup(operations)],
    ['GET',     '/v1/admin/webhooks/dead',       admin,     none,      webhooks.listDead(deadLetters)],
    ['POST',    '/v1/admin/webhooks/:event_id/replay', admin, none,    webhooks.replay(deadLetters)],

    ['GET',     '/',                             nobody,    none,      servePage(console)],
    ['GET',     '/console/:file',                nobody,    none,      serveAsset(console)],

    ['GET',     '/health',                       nobody,    none,      operate.health()],
    ['GET',     '/ready',                        nobody,    none,      operate.ready(operations)],
    ['GET',     '/version',                      nobody,    none,      operate.version(operations)],
    ['GET',     '/metrics',                      scraper,   none,      operate.metrics(operations)],

    ['GET',     '/openapi.json',                 nobody,    none,      openapi(() => table, operations.version)],
    ['GET',     '/docs',                         nobody,    none,      reference.page()],
    ['GET',     '/docs/start.js',                nobody,    none,      reference.start()],
    ['GET',     '/docs/ui.js',                   nobody,    none,      reference.ui('swagger-ui-bundle.js')],
    ['GET',     '/docs/ui.css',                  nobody,    none,      reference.ui('swagger-ui.css')],
  ]
  return table
}

const downloads =
  (uploads: Uploads, stallTimeoutMs: number): Handler =>
  async (exchange) => {
    const { req, res, uploadId } = exchange
    const download = downloadOf(await uploads.getToRead(uploadId))
    if (req.method === 'GET') exchange.download = download
    await unlessGone(uploads, uploadId, serveFile(req, res, download, uploads, stallTimeoutMs))
  }

/** What answers while the process drains. */
const ALWAYS_OPEN = new Set(['/health', '/ready', '/version', '/metrics'])

/** @returns what answers requests, and the app of Express that answers those that do not pass it by */
export function createApp(app: App): { listener: RequestListener; express: Express } {
  const server = express()
  server.disable('x-powered-by')
  server.disable('etag')
  server.set('query parser', 'simple')
  server.set('case sensitive routing', true)
  const before = (req: IncomingMessage, res: ServerResponse): boolean => {
    // Behind the last answer of a connection nothing is served (RFC 9112 section 9.6).
    if (req.socket.writableEnded) return true
    overrideMethod(req)
    return applyCors(req, res, app.corsAllowedOrigins)
  }
  const work = async <E extends Exchange>(
    exchange: E,
    trace: RequestTrace | null,
    does: (exchange: E) => Promise<void>,
    sendError: (exchange: E, error: unknown) => void,
  ): Promise<void> => {
    const { req, route } = exchange
    const leave = app.onWork?.(exchange)
    try {
      if (app.operations.draining() && !ALWAYS_OPEN.has(route))
        throw unavailable('The server is shutting down.')
      if (!isMet(req.headers.expect)) throw new HttpError('expectation_failed')
      await (trace ? trace.run(() => does(exchange)) : does(exchange))
    } catch (error) {
      sendError(exchange, error)
    } finally {
      exchange.admission?.release()
      leave?.()
    }
  }
  const traceOf = (req: IncomingMessage, path: string) =>
    app.openTrace?.(req.method ?? '', path, req.headers) ?? null
  const serve = (path: string, does: (exchange: ExpressExchange) => Promise<void>) => {
    const sendError = errorsOf(path)
    return (req: Request, res: Response): Promise<void> => {
      const trace = traceOf(req, path)
      const exchange = openExchange(req, res, { route: path, params: req.params, trace }, app.onRequest)
      return work(exchange, trace, does, sendError)
    }
  }
  const serveStraight =
    (path: string, does: (exchange: Exchange) => Promise<void>): Serve =>
    async (req, res, params) => {
      const trace = traceOf(req, path)
      const exchange = openExchange(req, res, { route: path, params, trace }, app.onRequest)
      return work(exchange, trace, does, sendTusError)
    }

  const straight = new Map<string, Serve>()
  for (const row of routes(app)) {
    const [method, path] = row
    server[method.toLowerCase() as Lowercase<Method>](path, serve(path, passing(row)))
    if (goesStraight(row)) straight.set(path, serveStraight(path, passing(row)))
  }
  const nothing = async () => {
    throw new HttpError('not_found')
  }
  const nothingOfTus = serve('/files/*', nothing)
  const nothingElse = serve('*', nothing)
  server.use('/files', nothingOfTus)
  server.use(nothingElse)
  // Express itself fails only where a URL can't be decoded: there is nothing there, either.
  server.use((_error: unknown, req: Request, res: Response, _next: unknown) =>
    (req.path.startsWith('/files/') ? nothingOfTus : nothingElse)(req, res),
  )
  return { listener: straightOr(server, before, straight), express: server }
}

/** How the errors of a route are told. */
function errorsOf(path: string): typeof sendNativeError {
  if (path.startsWith('/files')) return sendTusError
  return path.startsWith('/v1/links/') ? sendLinkError : sendNativeError
}

/** Nothing in the rows of these needs Express. */
const goesStraight = (row: Route): row is PlainRoute => isStraight(row[0], row[1])

/** Who may come, what admits the body, and what is done then. */
const passing =
  <E>([, , who, admission, does]: readonly [Method, string, Step<E>, Step<E>, Step<E>]) =>
  async (exchange: E): Promise<void> => {
    await who(exchange)
    await admission(exchange)
    await does(exchange)
  }

type Step<E> = (exchange: E) => Promise<void> | void

/** What a client may expect of us (RFC 9110 section 10.1.1). */
const isMet = (expect = ''): boolean => /^\s*(100-continue)?\s*$/i.test(expect)

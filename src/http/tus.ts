import type { ServerResponse } from 'node:http'
import { Metadata, Server, type Upload as TusUpload } from '@tus/server'
import { HttpError, locked, toHttpError } from '../core/errors.ts'
import { APPEND_TYPE, parseBytes, TUS_VERSION, tusMetadata } from '../core/tus.ts'
import type { Upload } from '../core/upload.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import { baseUrlOf, type PublicUrl } from './base-url.ts'
import { CHECKSUM_ALGORITHMS, checksumOf } from './checksum.ts'
import { answerEarly } from './early.ts'
import { tusStatus } from './errors.ts'
import { admitted, type Exchange, type PlainHandler, type OpenBody } from './exchange.ts'
import { creation, expiryOf } from './tus-creation.ts'
import { createDatastore, createOf } from './tus-datastore.ts'
import { isPlainAppend, plainCreation, type PlainCreation } from './tus-plain.ts'
import { headerOf, toWebRequest, type TusHeaders } from './tus-request.ts'

export interface TusOptions extends PublicUrl {
  maxUploadBytes: number
  /** parts of one final upload */
  maxConcatParts: number
}

/** Nothing waits for its signals: what a gone client stops is the body, which is ours. */
class TusServer extends Server {
  protected override createContext() {
    return NEVER_ABORTED
  }
}

const NEVER_ABORTED = { signal: new AbortController().signal, abort: () => {}, cancel: () => {} }

/**
 * tus 1.0 by @tus/server: it validates, dispatches, creates and terminates. Bytes take our own way,
 * straight from the node request, what counts is in the ledger, and the extensions that it lacks are
 * put in place of its public handlers.
 */
export function createTus(uploads: Uploads, openBody: OpenBody, options: TusOptions): PlainHandler {
  const exchanges = new WeakMap<Request, Exchange>()
  const creators = new WeakMap<TusUpload, Exchange>()
  const exchangeOf = (request: Request): Exchange => {
    const exchange = exchanges.get(request)
    if (!exchange) throw new Error('a tus request without an exchange')
    return exchange
  }

  const urlOf = ({ req }: Exchange, id: string) => `${baseUrlOf(req, options)}/files/${id}`

  const server = new TusServer({
    path: '/files',
    datastore: createDatastore(uploads, (upload) => creators.get(upload)),
    // Locks are the use cases' business: what @tus/server does beside them needs none.
    locker: { newLock: () => ({ lock: async () => {}, unlock: async () => {} }) },
    maxSize: options.maxUploadBytes,
    allowedOrigins: () => false,
    // The id that the guards have let the caller to, whatever the URL looks like.
    getFileIdFromRequest: (request) => exchangeOf(request).uploadId,
    namingFunction: (request) => exchangeOf(request).newId,
    generateUrl: (request, { id }) => urlOf(exchangeOf(request), id),
    onUploadCreate: async (request, upload) => {
      creators.set(upload, exchangeOf(request))
      return {}
    },
    onResponseError: (request, error) => {
      const exchange = exchangeOf(request)
      const answer = 'status_code' in error ? stockError(error) : ownError(exchange, error)
      if (answer.status_code === 413) exchange.res.setHeader('Tus-Max-Size', options.maxUploadBytes)
      answerEarly(exchange.req, exchange.res)
      return { ...answer, status_code: tusStatus(exchange.req.method ?? '', answer.status_code) }
    },
  })
  const { POST, PATCH, HEAD, OPTIONS } = server.handlers
  const create = creation(uploads, openBody, options.maxConcatParts)
  const stockCreate = POST.send.bind(POST)
  const stockOptions = OPTIONS.send.bind(OPTIONS)

  POST.send = async (request, context, headers = new Headers()) => {
    const exchange = exchangeOf(request)
    const told = await create(exchange, {
      create: async () => {
        await stockCreate(request, context)
        return null
      },
      urlOf: (id) => urlOf(exchange, id),
    })
    return emptyResponse(201, adding(headers, told))
  }

  const append = async (exchange: Exchange): Promise<TusHeaders> => {
    const { req, uploadId: id } = exchange
    const length = headerOf(req, 'upload-length')
    const patch = {
      id,
      offset: parseBytes('Upload-Offset', headerOf(req, 'upload-offset') ?? ''),
      declaredSize: length === undefined ? null : parseBytes('Upload-Length', length),
      checksum: checksumOf(req),
    }
    const { offset, upload } = await admitted(exchange, (turn) =>
      uploads.append({ ...patch, body: openBody(exchange), turn }),
    )
    return { 'Upload-Offset': String(offset), ...expiryOf(upload) }
  }

  PATCH.send = async (request, _context, headers = new Headers()) =>
    emptyResponse(204, adding(headers, await append(exchangeOf(request))))

  const createPlain = (exchange: Exchange, { size, metadata }: PlainCreation): Promise<TusHeaders> =>
    create(exchange, {
      create: () => createOf(uploads, exchange, size, metadata),
      urlOf: (id) => urlOf(exchange, id),
    })

  const answerPlainly = async (
    { res }: Exchange,
    status: number,
    work: Promise<TusHeaders>,
  ): Promise<void> => {
    try {
      send(res, status, await work)
    } catch (error) {
      if (toHttpError(error).status === 413) res.setHeader('Tus-Max-Size', options.maxUploadBytes)
      throw error
    }
  }

  HEAD.send = async (request, _context, headers = new Headers()) => {
    const upload = await uploads.getSettled(exchangeOf(request).uploadId)
    describe(upload, headers)
    return emptyResponse(200, headers)
  }

  OPTIONS.send = async (request, context, headers) => {
    const response = await stockOptions(request, context, headers)
    response.headers.set('Tus-Checksum-Algorithm', CHECKSUM_ALGORITHMS.join(','))
    return response
  }

  return async (exchange) => {
    const { req, res, uploadId } = exchange
    if (req.method !== 'OPTIONS' && req.headers['tus-resumable'] !== TUS_VERSION)
      throw new HttpError('precondition_failed')
    if (req.method === 'PATCH' && req.headers['content-type'] !== APPEND_TYPE)
      throw new HttpError('invalid_patch_type')
    // What @tus/server has nothing to say to is spared its requests and responses, which cost as much as the rest.
    if (isPlainAppend(req)) return answerPlainly(exchange, 204, append(exchange))
    const plain = plainCreation(req, options.maxUploadBytes)
    if (plain) return answerPlainly(exchange, 201, createPlain(exchange, plain))
    const request = toWebRequest(req, uploadId)
    exchanges.set(request, exchange)
    await answer(res, await server.handleWeb(request))
  }
}

/**
 * Sends what @tus/server made up. It never waits for the client: a response that is never fetched
 * holds nothing.
 */
async function answer(res: ServerResponse, response: Response): Promise<void> {
  if (res.destroyed) return
  for (const [name, value] of response.headers) if (!STOCK_CORS.test(name)) res.setHeader(name, value)
  res.statusCode = response.status
  res.end(response.headers.get('content-length') === '0' ? '' : await response.text())
}

function send(res: ServerResponse, status: number, headers: TusHeaders): void {
  if (res.destroyed) return
  res.writeHead(status, { 'Tus-Resumable': TUS_VERSION, ...headers }).end()
}

function adding(headers: Headers, more: TusHeaders): Headers {
  for (const [name, value] of Object.entries(more)) headers.set(name, value)
  return headers
}

/** As much of a Response as @tus/server and `answer` look at. */
const emptyResponse = (status: number, headers: Headers): Response =>
  ({ status, headers, text: async () => '' }) as Response

/** The front door speaks CORS for every route; what @tus/server would add says less. */
const STOCK_CORS = /^access-control-/

/** The answer to HEAD: what counts, by the ledger, without a lock. */
function describe(upload: Upload, headers: Headers): void {
  if (upload.status === 'FINALIZING') throw locked()
  if (upload.status === 'FAILED') throw new HttpError('gone', { detail: 'The upload has failed for good.' })
  headers.set('Cache-Control', 'no-store')
  headers.set('Upload-Offset', String(upload.offset))
  if (upload.size === null) headers.set('Upload-Defer-Length', '1')
  else headers.set('Upload-Length', String(upload.size))
  const metadata = Metadata.stringify(tusMetadata(upload))
  if (metadata) headers.set('Upload-Metadata', metadata)
  if (upload.concat !== null) headers.set('Upload-Concat', upload.concat)
  adding(headers, expiryOf(upload))
}

/** An error that @tus/server made itself: its words are for clients. */
function stockError(error: unknown): { status_code: number; body: string } {
  const { status_code, body } = error as { status_code: number; body: string }
  return { status_code, body }
}

function ownError(exchange: Exchange, thrown: unknown): { status_code: number; body: string } {
  const error = toHttpError(thrown)
  exchange.failure = thrown
  // Nobody to answer; and to a client that fell silent, a cut connection says "again" where a 4xx says "never".
  if (error.code === 'client_closed') exchange.res.destroy()
  for (const [name, value] of Object.entries(error.headers)) exchange.res.setHeader(name, value)
  return { status_code: error.status, body: exchange.req.method === 'HEAD' ? '' : `${error.message}\n` }
}

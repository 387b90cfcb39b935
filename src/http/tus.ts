import type { IncomingMessage } from 'node:http'
import { DataStore, Metadata, Server, Upload as TusUpload } from '@tus/server'
import { HttpError, toHttpError } from '../core/errors.ts'
import { APPEND_TYPE, describeFile, MAX_METADATA_BYTES, parseBytes, TUS_VERSION, tusMetadata } from '../core/tus.ts'
import { isOpen, type Upload } from '../core/upload.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import { announcedLength } from './body.ts'
import { answerEarly } from './early.ts'
import { tusStatus } from './errors.ts'
import { admissionOf, type Exchange, type Handler, type OpenBody } from './exchange.ts'

export interface TusOptions {
  maxUploadBytes: number
  /** what clients reach this server by, without a slash at the end; null for the request's own host */
  publicBaseUrl: string | null
  allowedOrigins: readonly string[]
}

/** What @tus/server hands to its handlers: the node request behind the web one. */
type TusRequest = Request & { runtime?: { node?: { req: IncomingMessage } } }

const PATH = '/files'

/**
 * tus 1.0 by @tus/server: it validates, dispatches and creates; bytes take our own way, straight from
 * the node request, and what counts is in the ledger.
 */
export function createTus(uploads: Uploads, openBody: OpenBody, options: TusOptions): Handler {
  const exchanges = new WeakMap<IncomingMessage, Exchange>()
  const creators = new WeakMap<TusUpload, Exchange>()
  const exchangeOf = (request: Request): Exchange => {
    const node = (request as TusRequest).runtime?.node?.req
    const exchange = node && exchanges.get(node)
    if (!exchange) throw new Error('a tus request without an exchange')
    return exchange
  }

  const server = new Server({
    path: PATH,
    datastore: createDatastore(uploads, creators),
    locker: noLocks,
    maxSize: options.maxUploadBytes,
    allowedOrigins: (origin) => options.allowedOrigins.includes(origin),
    namingFunction: (request) => exchangeOf(request).uploadId,
    generateUrl: (_request, { proto, host, path, id }) =>
      `${options.publicBaseUrl ?? `${proto}://${host}`}${path}/${id}`,
    onUploadCreate: async (request, upload) => {
      creators.set(upload, exchangeOf(request))
      return {}
    },
    onResponseError: (request, error) => {
      const exchange = exchangeOf(request)
      const answer = 'status_code' in error ? stockError(error) : ownError(exchange, error)
      answerEarly(exchange.req, exchange.res)
      return { ...answer, status_code: tusStatus(exchange.req.method, answer.status_code) }
    },
  })

  const { POST } = server.handlers
  const create = POST.send.bind(POST)
  POST.send = async (request, context, headers) => {
    const exchange = exchangeOf(request)
    const withBody = exchange.admission !== null
    if (withBody) checkFirstBody(exchange.req)
    const response = await create(request, context, headers)
    response.headers.set('Content-Length', '0')
    const upload = withBody ? await takeFirstBody(exchange) : await uploads.get(exchange.uploadId)
    if (withBody) response.headers.set('Upload-Offset', String(upload.offset))
    setExpiry(response.headers, upload)
    return response
  }

  /** The body of a creation. Whatever stops it, the upload is there and the client is told where it stands. */
  const takeFirstBody = async (exchange: Exchange): Promise<Upload> => {
    const { uploadId: id } = exchange
    try {
      const body = openBody(exchange)
      const turn = admissionOf(exchange)
      return (await uploads.append({ id, offset: 0, declaredSize: null, body, turn })).upload
    } catch (error) {
      exchange.failure = error
      answerEarly(exchange.req, exchange.res)
      return uploads.get(id)
    }
  }

  server.handlers.PATCH.send = async (request, _context, headers = new Headers()) => {
    const exchange = exchangeOf(request)
    const { req, uploadId: id } = exchange
    const { offset, upload } = await uploads.append({
      id,
      offset: parseBytes('Upload-Offset', req.get('upload-offset') ?? ''),
      declaredSize: declaredSize(req),
      body: openBody(exchange),
      turn: admissionOf(exchange),
    })
    headers.set('Upload-Offset', String(offset))
    setExpiry(headers, upload)
    return new Response(null, { status: 204, headers })
  }

  server.handlers.HEAD.send = async (request, _context, headers = new Headers()) => {
    const upload = await uploads.get(exchangeOf(request).uploadId)
    if (upload.status === 'FINALIZING') throw new HttpError('locked', { headers: { 'Retry-After': '1' } })
    if (upload.status === 'FAILED') throw new HttpError('gone')
    headers.set('Cache-Control', 'no-store')
    headers.set('Upload-Offset', String(upload.offset))
    if (upload.size === null) headers.set('Upload-Defer-Length', '1')
    else headers.set('Upload-Length', String(upload.size))
    const metadata = Metadata.stringify(tusMetadata(upload))
    if (metadata) headers.set('Upload-Metadata', metadata)
    setExpiry(headers, upload)
    return new Response(null, { status: 200, headers })
  }

  return async (exchange) => {
    const { req, res } = exchange
    if (req.method !== 'OPTIONS' && req.get('tus-resumable') !== TUS_VERSION)
      throw new HttpError('precondition_failed')
    if (req.method === 'PATCH' && req.get('content-type') !== APPEND_TYPE)
      throw new HttpError('invalid_patch_type')
    normalise(req)
    exchanges.set(req, exchange)
    await server.handle(req, res)
  }
}

/** Whether a creation brings bytes along (creation-with-upload). */
export const bringsBytes = (req: IncomingMessage): boolean =>
  req.headers['content-type'] === APPEND_TYPE && announcedLength(req) !== 0

function createDatastore(uploads: Uploads, creators: WeakMap<TusUpload, Exchange>): DataStore {
  class LedgerStore extends DataStore {
    override extensions = [
      'creation',
      'creation-with-upload',
      'creation-defer-length',
      'termination',
      'expiration',
    ]

    override async create(upload: TusUpload): Promise<TusUpload> {
      const metadata = upload.metadata ?? {}
      await uploads.create({
        id: upload.id,
        ownerId: creators.get(upload)?.userId ?? '',
        dialect: 'tus',
        size: upload.size ?? null,
        chunkSize: null,
        metadata,
        checksumSha256: null,
        ...describeFile(metadata),
      })
      return upload
    }

    override remove = (id: string): Promise<void> => uploads.remove(id)
  }
  return new LedgerStore()
}

/** Locks are the use cases' business: what @tus/server does beside them needs none. */
const noLocks = { newLock: () => ({ lock: async () => {}, unlock: async () => {} }) }

const declaredSize = (req: Exchange['req']): number | null => {
  const header = req.get('upload-length')
  return header === undefined ? null : parseBytes('Upload-Length', header)
}

/** Refuses a body that can't fit before anything is created, so that no upload is left behind. */
function checkFirstBody(req: Exchange['req']): void {
  const size = declaredSize(req)
  const length = announcedLength(req)
  if (size !== null && length !== null && length > size)
    throw new HttpError('payload_too_large', { detail: 'The body goes past the end of the upload.' })
}

/** An unfinished upload says until when it lives (RFC 9110 date). */
function setExpiry(headers: Headers, upload: Upload): void {
  if (isOpen(upload.status)) headers.set('Upload-Expires', upload.expiresAt.toUTCString())
}

/**
 * Takes from the request what @tus/server stumbles over: an empty Upload-Metadata is no metadata;
 * forwarded headers that nobody vouches for are nothing; and a POST's body is ours to read.
 */
function normalise(req: IncomingMessage): void {
  const metadata = req.headers['upload-metadata']
  if (typeof metadata === 'string' && Buffer.byteLength(metadata) > MAX_METADATA_BYTES)
    throw new HttpError('bad_request', { detail: `Upload-Metadata must be ${MAX_METADATA_BYTES} bytes at most.` })
  const dropped = new Set(['x-forwarded-proto', 'x-forwarded-host', 'forwarded'])
  if (metadata === '') dropped.add('upload-metadata')
  if (req.method === 'POST') dropped.add('content-type')
  for (const name of dropped) delete req.headers[name]
  const kept: string[] = []
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const name = req.rawHeaders[i] ?? ''
    if (!dropped.has(name.toLowerCase())) kept.push(name, req.rawHeaders[i + 1] ?? '')
  }
  req.rawHeaders = kept
}

/** An error that @tus/server made itself: its words are for clients. */
function stockError(error: unknown): { status_code: number; body: string } {
  const { status_code, body } = error as { status_code: number; body: string }
  return { status_code, body }
}

function ownError(exchange: Exchange, thrown: unknown): { status_code: number; body: string } {
  const error = toHttpError(thrown)
  exchange.failure = thrown
  for (const [name, value] of Object.entries(error.headers)) exchange.res.setHeader(name, value)
  return { status_code: error.status, body: `${error.message}\n` }
}

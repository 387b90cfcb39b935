import type { z } from 'zod'
import { HttpError } from '../core/errors.ts'
import { cellCount } from '../core/geometry.ts'
import type { Once } from '../core/ports/ledger.ts'
import { view } from '../core/view.ts'
import type { NewUpload } from '../core/upload.ts'
import type { Create } from '../uploads/create.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import { parseContentDigest, parseHexDigest } from './digest-headers.ts'
import { answerEarly } from './early.ts'
import { admitted, type Exchange, type Handler, type OpenBody } from './exchange.ts'
import { onceOf } from './idempotency.ts'
import {
  initRequest,
  listRequest,
  type chunkAnswer,
  type completeAnswer,
  type initAnswer,
  type listAnswer,
  type missingChunksAnswer,
} from './native-schemas.ts'
import { parse } from './parse.ts'
import { headerOf } from './tus-request.ts'

export const init =
  (uploads: Uploads): Handler =>
  async (exchange) => {
    const { req, res } = exchange
    const wanted = parse(initRequest, req.body)
    const once = onceOf(exchange, 'init', wanted)
    const create: Create = {
      id: exchange.newId,
      ownerId: exchange.userId,
      dialect: 'native',
      fileName: wanted.file_name,
      size: wanted.file_size,
      chunkSize: wanted.chunk_size ?? null,
      contentType: wanted.content_type ?? null,
      metadata: wanted.metadata ?? {},
      concat: null,
      checksumSha256: wanted.file_checksum_sha256?.toLowerCase() ?? null,
    }
    const tell = (upload: NewUpload) => created(upload, wanted.file_size)
    const answer = once ? await uploads.createOnce(create, once, tell) : tell(await uploads.create(create))
    exchange.uploadId = answer.upload_id
    res
      .status(201)
      .location(`/v1/uploads/${answer.upload_id}`)
      .set('X-Tus-Location', `/files/${answer.upload_id}`)
      .json(answer)
  }

const created = ({ id, chunkSize }: NewUpload, size: number): z.output<typeof initAnswer> => ({
  upload_id: id,
  chunk_size: chunkSize,
  total_chunks: cellCount({ size, chunkSize }),
  status: 'INITIATED',
})

export const putChunk =
  (uploads: Uploads, openBody: OpenBody): Handler =>
  async (exchange) => {
    const { req, res, uploadId: id } = exchange
    const { index, sha256 } = chunkRequest(exchange)
    const once = chunkOnce(exchange)
    await admitted(exchange, (turn) =>
      uploads.putChunk({ id, index, body: openBody(exchange), turn, sha256, once }),
    )
    // What was done before may be answered unread.
    answerEarly(req, res)
    const answer: z.output<typeof chunkAnswer> = { upload_id: id, chunk_index: index, status: 'UPLOADED' }
    res.status(202).json(answer)
  }

/** What of a chunk makes it another request: its bytes are for the store to compare. */
export function chunkOnce(exchange: Exchange): Once | null {
  const { index, sha256 } = chunkRequest(exchange)
  return onceOf(exchange, 'chunk', exchange.uploadId, index, [...new Set(sha256)])
}

/** @throws {HttpError} bad_request 400 */
function chunkRequest({ req, params }: Exchange): { index: number; sha256: string[] } {
  const digests = [
    parseHexDigest(headerOf(req, 'x-chunk-sha256')),
    parseContentDigest(headerOf(req, 'content-digest')),
  ]
  return {
    index: chunkIndex(params['index']),
    sha256: digests.filter((digest) => digest !== null),
  }
}

export const freeChunk =
  (uploads: Uploads): Handler =>
  async ({ req, res, uploadId }) => {
    await uploads.freeChunk(uploadId, chunkIndex(req.params['index']))
    res.status(204).end()
  }

export const missingChunks =
  (uploads: Uploads): Handler =>
  async ({ res, uploadId }) => {
    const answer: z.output<typeof missingChunksAnswer> = await uploads.missingChunks(uploadId)
    res.json(answer)
  }

export const complete =
  (uploads: Uploads): Handler =>
  async (exchange) => {
    const { res, uploadId } = exchange
    await uploads.complete(uploadId, completeOnce(exchange))
    const answer: z.output<typeof completeAnswer> = { upload_id: uploadId, status: 'COMPLETED' }
    res.json(answer)
  }

export const completeOnce = (exchange: Exchange): Once | null =>
  onceOf(exchange, 'complete', exchange.uploadId)

export const showUpload =
  (uploads: Uploads): Handler =>
  async ({ res, uploadId }) => {
    res.json(view(await uploads.get(uploadId)))
  }

export const listUploads =
  (uploads: Uploads): Handler =>
  async ({ req, res, userId }) => {
    const { status, limit, cursor } = parse(listRequest, req.query)
    const page = await uploads.list({
      ownerId: userId,
      limit,
      ...(status && { status }),
      ...(cursor !== undefined && { cursor }),
    })
    const answer: z.output<typeof listAnswer> = {
      uploads: page.uploads.map(view),
      next_cursor: page.nextCursor,
    }
    res.json(answer)
  }

export const removeUpload =
  (uploads: Uploads): Handler =>
  async ({ res, uploadId }) => {
    await uploads.remove(uploadId)
    res.status(204).end()
  }

/** @throws {HttpError} bad_request 400 for anything but a whole number */
function chunkIndex(text: unknown): number {
  if (typeof text === 'string' && /^\d{1,15}$/.test(text)) return Number(text)
  throw new HttpError('bad_request', { detail: 'chunk_index: must be a whole number from 0.' })
}

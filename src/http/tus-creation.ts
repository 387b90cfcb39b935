import { Metadata } from '@tus/server'
import { HttpError } from '../core/errors.ts'
import { describeFile, parseBytes, parseConcat } from '../core/tus.ts'
import { isOpen, type Upload } from '../core/upload.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import { announcedLength } from './body.ts'
import { checksumOf } from './checksum.ts'
import { answerEarly } from './early.ts'
import { admitted, type Exchange, type OpenBody } from './exchange.ts'
import { headerOf, metadataIn, type TusHeaders } from './tus-request.ts'

/** How the upload of a creation is made, and where clients find it. */
interface Making {
  /** Makes the row of `newId`. @returns the upload; null when it has to be looked up */
  create(): Promise<Upload | null>
  urlOf(id: string): string
}

/**
 * POST: an upload, a partial one, or a final one made of those; with its first bytes, or without.
 * @returns the headers of a 201
 * @see https://tus.io/protocols/resumable-upload#creation
 */
export const creation =
  (uploads: Uploads, openBody: OpenBody, maxConcatParts: number) =>
  async (exchange: Exchange, { create, urlOf }: Making): Promise<TusHeaders> => {
    const { req } = exchange
    const concatHeader = headerOf(req, 'upload-concat')
    const concat = concatHeader === undefined ? 'partial' : parseConcat(concatHeader, maxConcatParts)
    if (concat !== 'partial') {
      const upload = await createFinal(exchange, concatHeader ?? '', concat.parts)
      exchange.uploadId = upload.id
      return { Location: urlOf(upload.id), 'Content-Length': '0' }
    }

    const withBody = exchange.admission !== null
    const length = headerOf(req, 'upload-length')
    if (length !== undefined) parseBytes('Upload-Length', length)
    if (withBody) checkFirstBody(exchange)
    const created = await create()
    exchange.uploadId = exchange.newId
    const upload = withBody
      ? await takeFirstBody(exchange, created)
      : (created ?? (await uploads.get(exchange.uploadId)))
    return {
      Location: urlOf(upload.id),
      'Content-Length': '0',
      ...(withBody && { 'Upload-Offset': String(upload.offset) }),
      ...expiryOf(upload),
    }

    async function createFinal({ req, userId, newId }: Exchange, header: string, parts: string[]) {
      if (headerOf(req, 'upload-length') !== undefined || exchange.admission)
        throw new HttpError('bad_request', { detail: 'A final upload has neither Upload-Length nor a body.' })
      const told = metadataIn(req)
      const metadata = told ? Metadata.parse(told) : {}
      return uploads.concatenate({
        id: newId,
        ownerId: userId,
        concat: header,
        parts,
        metadata,
        ...describeFile(metadata),
      })
    }

    /**
     * The body of a creation. Whatever breaks it, the upload is there and the client is told where it
     * stands; but what fails its checksum, or for good, was never created, since the client learns no
     * Location.
     */
    async function takeFirstBody(exchange: Exchange, created: Upload | null): Promise<Upload> {
      const { req, res, uploadId: id } = exchange
      const checksum = checksumOf(req)
      const start = { id, created, offset: 0, declaredSize: null, checksum }
      try {
        const appended = await admitted(exchange, (turn) =>
          uploads.append({ ...start, body: openBody(exchange), turn }),
        )
        return appended.upload
      } catch (error) {
        const code = error instanceof HttpError ? error.code : null
        if (code === 'checksum_mismatch' || code === 'bad_request' || code === 'storage_lost')
          await uploads.remove(id)
        // Too long for its length: refused, and told where the upload is that has the rest.
        else if (code === 'payload_too_large') res.setHeader('Location', urlOf(id))
        else {
          exchange.failure = error
          answerEarly(req, res)
          return uploads.get(id)
        }
        throw error
      }
    }
  }

/** Refuses a body that can't be taken before anything is created, so that no upload is left behind. */
function checkFirstBody({ req }: Exchange): void {
  checksumOf(req)
  const size = headerOf(req, 'upload-length')
  const length = announcedLength(req)
  if (size !== undefined && length !== null && length > parseBytes('Upload-Length', size))
    throw new HttpError('payload_too_large', { detail: 'The body goes past the end of the upload.' })
}

/** An unfinished upload says until when it lives (RFC 9110 date). */
export const expiryOf = (upload: Upload): TusHeaders =>
  isOpen(upload.status) ? { 'Upload-Expires': upload.expiresAt.toUTCString() } : {}

import type { z } from 'zod'
import { HttpError } from '../core/errors.ts'
import { isOpen, publicStatus } from '../core/upload.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import type { Caller } from './auth.ts'
import { baseUrlOf, type PublicUrl } from './base-url.ts'
import type { Handler } from './exchange.ts'
import { parse } from './parse.ts'
import { tokenRequest, type tokenAnswer } from './sharing-schemas.ts'
import type { Signer } from './signer.ts'

/** Names the version, too. */
const PURPOSE = 'upload1'
/** In place of a time, in a token that lives as long as its upload. */
const WITH_UPLOAD = '0'

export interface TokenOptions {
  signer: Signer
  now: () => Date
}

/** A token by which its holder goes on with one upload, in either dialect, and does nothing else. */
export const makeToken =
  (uploads: Uploads, options: TokenOptions, publicUrl: PublicUrl): Handler =>
  async ({ req, res, uploadId }) => {
    const { signer, now } = options
    const { expires_in: seconds } = parse(tokenRequest, req.body)
    const upload = await uploads.get(uploadId)
    if (!isOpen(upload.status))
      throw new HttpError('conflict', {
        detail: `The upload is ${publicStatus(upload.status)}: there is nothing left to send.`,
      })
    const ends = seconds ? Math.floor(now().getTime() / 1000) + seconds : null
    const token = await signer.sign(PURPOSE, [uploadId, ends === null ? WITH_UPLOAD : String(ends)])
    const base = baseUrlOf(req, publicUrl)
    const answer: z.output<typeof tokenAnswer> = {
      token,
      upload_id: uploadId,
      expires_at: (ends === null ? upload.expiresAt : new Date(ends * 1000)).toISOString(),
      endpoints: {
        tus: `${base}/files/${uploadId}`,
        upload: `${base}/v1/uploads/${uploadId}`,
        chunk: `${base}/v1/uploads/${uploadId}/chunks/{index}`,
        missing_chunks: `${base}/v1/uploads/${uploadId}/missing-chunks`,
        complete: `${base}/v1/uploads/${uploadId}/complete`,
      },
    }
    res.status(201).json(answer)
  }

/** Who holds a token acts for the owner of its upload, and is counted as that user. */
export interface TokenHolder extends Caller {
  uploadId: string
}

/** @returns null for what is no token of ours, or one whose time is over */
export type ReadToken = (text: string) => Promise<TokenHolder | null>

/** @throws {HttpError} not_found 404, gone 410: the upload is not there any more */
export const tokenReader =
  (uploads: Pick<Uploads, 'get'>, { signer, now }: TokenOptions): ReadToken =>
  async (text) => {
    const [uploadId, ends] = (await signer.verify(PURPOSE, text)) ?? []
    if (uploadId === undefined || ends === undefined) return null
    const nowMs = now().getTime()
    if (ends !== WITH_UPLOAD && Number(ends) * 1000 <= nowMs) return null
    const { ownerId, status, expiresAt } = await uploads.get(uploadId)
    // A finished upload has no expiry, but the token ends when it would have ended with its last byte.
    if (ends === WITH_UPLOAD && !isOpen(status) && expiresAt.getTime() <= nowMs) return null
    return { uploadId, userId: ownerId, countedBy: `user ${ownerId}` }
  }

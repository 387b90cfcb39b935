import type { z } from 'zod'
import { HttpError } from '../core/errors.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import { baseUrlOf, type PublicUrl } from './base-url.ts'
import { downloadOf, serveFile } from './download.ts'
import type { Guard, Handler } from './exchange.ts'
import { guessCounter, type GuessOptions } from './guesses.ts'
import { parse } from './parse.ts'
import { linkRequestUpTo, type linkAnswer } from './sharing-schemas.ts'
import type { Signer } from './signer.ts'
import { unlessGone } from './unless-gone.ts'

/** Names the version, too. */
const PURPOSE = 'link1'

export interface LinkOptions {
  signer: Signer
  now: () => Date
  /** how long a link is good whose maker does not say it */
  linkDefaultSeconds: number
  linkMaxSeconds: number
}

/** A URL that gives the file to whoever has it, for a while, once the upload is complete. */
export const makeLink =
  (uploads: Uploads, options: LinkOptions, publicUrl: PublicUrl): Handler =>
  async ({ req, res, uploadId }) => {
    const { signer, now, linkDefaultSeconds, linkMaxSeconds } = options
    const wanted = parse(linkRequestUpTo(linkMaxSeconds), req.body)
    await uploads.get(uploadId)
    const ends = Math.floor(now().getTime() / 1000) + (wanted.expires_in ?? linkDefaultSeconds)
    const token = await signer.sign(PURPOSE, [uploadId, String(ends), wanted.disposition ?? 'attachment'])
    const answer: z.output<typeof linkAnswer> = {
      url: `${baseUrlOf(req, publicUrl)}/v1/links/${token}`,
      expires_at: new Date(ends * 1000).toISOString(),
    }
    res.status(201).json(answer)
  }

/**
 * Whoever has a link.
 * @throws {HttpError} not_found 404 for one that was not made here, gone 410 for one whose time is over,
 * throttled 429 where wrong ones keep coming
 */
export const linkHolder = (options: LinkOptions, guesses: GuessOptions): Guard => {
  const countGuess = guessCounter(guesses)
  return async (exchange) => {
    const token = String(exchange.req.params['token'])
    const [id, ends, disposition] = (await options.signer.verify(PURPOSE, token)) ?? []
    if (id === undefined) {
      countGuess(exchange.req, token)
      throw new HttpError('not_found')
    }
    exchange.uploadId = id
    exchange.asAttachment = disposition !== 'inline'
    if (Number(ends) * 1000 <= options.now().getTime())
      throw new HttpError('gone', { detail: 'The link has expired.' })
  }
}

/** Who has the link may have it from any page; where it leads to other pages, those are not told of it. */
const HEADERS = { 'Cross-Origin-Resource-Policy': 'cross-origin', 'Referrer-Policy': 'no-referrer' }

/** Answers as a download does. */
export const followLink =
  (uploads: Uploads, stallTimeoutMs: number): Handler =>
  async (exchange) => {
    const { req, res, uploadId, asAttachment } = exchange
    const download = downloadOf(await uploads.getToRead(uploadId))
    if (req.method === 'GET') exchange.download = download
    const how = { asAttachment, headers: HEADERS }
    await unlessGone(uploads, uploadId, serveFile(req, res, download, uploads, stallTimeoutMs, how))
  }

import type { IncomingMessage } from 'node:http'
import { HttpError } from '../core/errors.ts'
import type { Checksum } from '../uploads/append.ts'

/** In the order that `Tus-Checksum-Algorithm` tells them. */
export const CHECKSUM_ALGORITHMS = ['sha1', 'sha256', 'sha512', 'md5'] as const
type Algorithm = (typeof CHECKSUM_ALGORITHMS)[number]

const DIGEST_BYTES: Readonly<Record<Algorithm, number>> = { sha1: 20, sha256: 32, sha512: 64, md5: 16 }

/**
 * The checksum that a request brings for its body, in the header or, when `Trailer` names it, behind
 * the body; null when it brings none.
 * @throws {HttpError} bad_request 400: an algorithm that we don't know, or a malformed header
 * @see https://tus.io/protocols/resumable-upload#checksum
 */
export function checksumOf(req: IncomingMessage): Checksum | null {
  const header = req.headers['upload-checksum']
  if (header !== undefined) {
    const announced = parse(header)
    return { algorithms: [announced.algorithm], announced: () => announced }
  }
  if (!announcesTrailer(req)) return null
  // Which algorithm it will be is known only at the end.
  return { algorithms: CHECKSUM_ALGORITHMS, announced: () => parse(req.trailers['upload-checksum']) }
}

const announcesTrailer = (req: IncomingMessage): boolean =>
  (req.headers.trailer ?? '').split(',').some((name) => name.trim().toLowerCase() === 'upload-checksum')

function parse(value: string | string[] | undefined): ReturnType<Checksum['announced']> {
  const [, algorithm, digest] = /^([a-z0-9-]+) ([A-Za-z0-9+/]+={0,2})$/.exec(String(value ?? '').trim()) ?? []
  const known = CHECKSUM_ALGORITHMS.find((name) => name === algorithm)
  if (!known || digest === undefined)
    throw new HttpError('bad_request', {
      detail: `Upload-Checksum must be one of ${CHECKSUM_ALGORITHMS.join(', ')}, a space and the base64 of the digest.`,
    })
  const bytes = Buffer.from(digest, 'base64')
  if (bytes.length !== DIGEST_BYTES[known])
    throw new HttpError('bad_request', {
      detail: `Upload-Checksum: a ${known} has ${DIGEST_BYTES[known]} bytes.`,
    })
  return { algorithm: known, digest: bytes }
}

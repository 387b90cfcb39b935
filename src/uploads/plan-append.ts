import { HttpError, locked } from '../core/errors.ts'
import { assertNotExpired, isFinal, type Upload } from '../core/upload.ts'

/** What a PATCH says of itself. */
export interface AppendRequest {
  /** where the client says its bytes begin */
  offset: number
  /** the length that the request declares, for an upload whose length was deferred; null for none */
  declaredSize: number | null
  /** bytes in the body, null when it is chunked */
  bodyLength: number | null
}

export interface AppendPlan {
  /** the most bytes that the body may bring */
  maxBytes: number
  /** the length to declare first; null when there is none, or when it is known already */
  declares: number | null
}

/**
 * Decides whether a body may be appended, and how much of it.
 * @param maxUploadBytes the longest file, which bounds one of deferred length
 * @throws {HttpError} gone 410, forbidden 403 on a final upload, locked 423, offset_mismatch 409,
 * payload_too_large 413, bad_request 400
 */
export function planAppend(
  upload: Upload,
  { offset, declaredSize, bodyLength }: AppendRequest,
  maxUploadBytes: number,
  now: Date,
): AppendPlan {
  assertNotExpired(upload, now)
  if (isFinal(upload))
    throw new HttpError('forbidden', { detail: 'A final upload is made of its parts and takes no bytes.' })
  if (upload.status === 'FAILED') throw new HttpError('gone', { detail: 'The upload has failed for good.' })
  if (upload.status === 'FINALIZING') throw locked()
  if (offset !== upload.offset && !continuesBehind(upload, offset)) throw new HttpError('offset_mismatch')

  if (declaredSize !== null) checkDeclaration(upload, declaredSize, maxUploadBytes)
  const size = upload.size ?? declaredSize
  const maxBytes = (size ?? maxUploadBytes) - offset
  if (bodyLength !== null && bodyLength > maxBytes)
    throw new HttpError('payload_too_large', { detail: 'The body goes past the end of the upload.' })
  return {
    maxBytes: bodyLength ?? maxBytes,
    declares: upload.size === null ? declaredSize : null,
  }
}

function checkDeclaration(upload: Upload, size: number, maxUploadBytes: number): void {
  if (upload.size !== null && upload.size !== size)
    throw new HttpError('bad_request', { detail: 'Upload-Length was declared before, with another value.' })
  if (size < upload.offset)
    throw new HttpError('bad_request', { detail: 'Upload-Length is less than what is stored already.' })
  if (size > maxUploadBytes)
    throw new HttpError('payload_too_large', { headers: { 'Tus-Max-Size': String(maxUploadBytes) } })
}

/**
 * Whether a client goes on from where its last PATCH ended, though cells behind that are there
 * already: those bytes are read and dropped.
 */
const continuesBehind = ({ appendOffset, offset, status }: Upload, from: number): boolean =>
  appendOffset !== null &&
  from <= offset &&
  (from === appendOffset || (from > appendOffset && status === 'COMPLETED'))

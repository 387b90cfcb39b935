/**
 * The one error class and the one table. The table gives the status and the words a stranger may
 * read; what really happened travels in `cause` and goes to the log only.
 */
const TABLE = {
  bad_request: [400, 'The request is malformed.'],
  missing_api_key: [401, 'A valid API key or token is required, in X-API-Key or Authorization: Bearer.'],
  forbidden: [403, 'This upload belongs to somebody else.'],
  not_found: [404, 'There is nothing here.'],
  conflict: [409, 'The upload is in a state that does not allow this.'],
  offset_mismatch: [409, 'Upload-Offset is not the offset of this upload.'],
  storage_lost: [409, 'The storage has lost this upload: it has failed for good.'],
  gone: [410, 'The upload has expired.'],
  precondition_failed: [412, 'Tus-Resumable must be 1.0.0.'],
  payload_too_large: [413, 'The body or the file is too large.'],
  unsupported_media_type: [415, 'The body must be application/json.'],
  invalid_patch_type: [415, 'Content-Type must be application/offset+octet-stream.'],
  range_not_satisfiable: [416, 'No byte of the file lies in the range that was asked for.'],
  expectation_failed: [417, 'Expect can only be 100-continue.'],
  unprocessable: [422, 'A field has a value that is not allowed.'],
  locked: [423, 'Another request is writing to this upload.'],
  throttled: [429, 'Too many requests; try again.'],
  checksum_mismatch: [460, 'The checksum of the body is not the announced one.'],
  client_closed: [499, 'The body broke off.'],
  internal_error: [500, 'Something went wrong on our side.'],
  unavailable: [503, 'The service is not available for the moment; try again.'],
  insufficient_storage: [507, 'The server has no room left.'],
} as const satisfies Record<string, readonly [status: number, detail: string]>

export type ErrorCode = keyof typeof TABLE

export const ERROR_CODES = Object.keys(TABLE) as ErrorCode[]
export const statusOf = (code: ErrorCode): number => TABLE[code][0]
/** The table's words for a code. */
export const wordsOf = (code: ErrorCode): string => TABLE[code][1]

/** Why a request was throttled, as told in `X-RateLimit-Reason`. */
export const THROTTLE_REASONS = [
  'queue_full',
  'global_inflight_limit',
  'upload_inflight_limit',
  'api_key_rate_limit',
  'auth_failure_limit',
  'event_stream_limit',
] as const
export type ThrottleReason = (typeof THROTTLE_REASONS)[number]

export interface ErrorDetails {
  /** Words for the client, in place of the table's. Never an internal message. */
  detail?: string
  /** Headers of the answer, such as Retry-After. */
  headers?: Record<string, string>
  cause?: unknown
}

export class HttpError extends Error {
  readonly code: ErrorCode
  readonly status: number
  readonly headers: Readonly<Record<string, string>>

  constructor(code: ErrorCode, { detail, headers = {}, cause }: ErrorDetails = {}) {
    const [status, words] = TABLE[code]
    super(detail ?? words, { cause })
    this.name = 'HttpError'
    this.code = code
    this.status = status
    this.headers = headers
  }
}

/** Any thrown value as an HttpError: what we don't know is an internal error. */
export const toHttpError = (error: unknown): HttpError =>
  error instanceof HttpError ? error : new HttpError('internal_error', { cause: error })

/** Refused by a limit: 429 natively, 503 for tus clients, which give up on a 429. */
export const throttled = (reason: ThrottleReason, retryAfterSeconds = 1): HttpError =>
  new HttpError('throttled', {
    detail: `Too many requests (${reason}); try again.`,
    headers: { 'Retry-After': String(retryAfterSeconds), 'X-RateLimit-Reason': reason },
  })

export const unavailable = (detail?: string, cause?: unknown): HttpError =>
  new HttpError('unavailable', { ...(detail && { detail }), cause, headers: { 'Retry-After': '1' } })

/** Another one has the place: again in a second. */
export const locked = (detail?: string): HttpError =>
  new HttpError('locked', { ...(detail && { detail }), headers: { 'Retry-After': '1' } })

import { HttpError, unavailable } from '../../core/errors.ts'

/** What became of a request: the code and the status that S3 answered, or a code of Node. */
interface Failure extends Error {
  code?: string
  status?: number
  requestId?: string
}

/**
 * An error of the SDK without what hangs on it: the connection, and the request with its signature,
 * neither of which belongs into a log.
 */
export function failureOf(thrown: unknown): Error {
  const { name, message, code, stack, $metadata } = thrown as Partial<SdkError>
  const failure: Failure = Object.assign(new Error(message), { name: name ?? 'Error' })
  if (stack) failure.stack = stack
  if (typeof code === 'string') failure.code = code
  if ($metadata?.httpStatusCode !== undefined) failure.status = $metadata.httpStatusCode
  if ($metadata?.requestId !== undefined) failure.requestId = $metadata.requestId
  return failure
}

interface SdkError extends Error {
  code: unknown
  $metadata: { httpStatusCode?: number; requestId?: string }
}

const told = (error: unknown): Partial<Failure> => (error instanceof Error ? error : {})

const statusOf = (error: unknown): number | undefined => told(error).status

/** Whether S3 answered with one of these codes. */
export const isCode = (error: unknown, ...codes: string[]): boolean => codes.includes(told(error).name ?? '')

/** A HEAD has no body to tell a code in. */
export const isMissing = (error: unknown): boolean => isCode(error, 'NoSuchKey', 'NotFound')

/** An engine that does not know what it was asked for. */
export const isNotImplemented = (error: unknown): boolean =>
  isCode(error, 'NotImplemented') || statusOf(error) === 501

/** What engines say of a condition on a write that they don't know. */
export const isUnknownCondition = (error: unknown): boolean =>
  isNotImplemented(error) || isCode(error, 'BadRequest', 'InvalidArgument', 'InvalidRequest')

/** A condition on a write that did not hold. */
export const isRefusedByCondition = (error: unknown): boolean => statusOf(error) === 412

/** Worth trying again though S3 says that it is our fault: what it got was spoiled or late on the way. */
const PASSING = new Set([
  'BadDigest',
  'ConditionalRequestConflict',
  'IncompleteBody',
  'OperationAborted',
  'RequestTimeout',
  'RequestTimeoutException',
  'SlowDown',
  'ThrottlingException',
  'TimeoutError',
  'TooManyRequestsException',
  'XAmzContentSHA256Mismatch',
])

/** Of a connection that failed, was refused or broke off, or of a name that was not resolved. */
const NETWORK = new Set([
  'EAI_AGAIN',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EPIPE',
  'ERR_STREAM_PREMATURE_CLOSE',
  'ETIMEDOUT',
])

/** Whether the same request may succeed in a moment. */
export function isTransient(error: unknown): boolean {
  if (error instanceof HttpError) return false
  const { name = '', code = '' } = told(error)
  if (PASSING.has(name) || NETWORK.has(code)) return true
  const status = statusOf(error)
  if (status === undefined || isNoRoom(error)) return false
  // An error in spite of a good status: the answer was cut short.
  return status < 300 || status === 408 || status === 429 || (status >= 500 && status !== 501)
}

/** The codes of engines that have an end. */
const NO_ROOM = new Set(['QuotaExceeded', 'XMinioAdminBucketQuotaExceeded', 'XMinioStorageFull'])

const isNoRoom = (error: unknown): boolean => NO_ROOM.has(told(error).name ?? '') || statusOf(error) === 507

/**
 * What a client may be told: that there is no room, or to come back. Also where we may not do what
 * we have to (a policy, a wrong key, a bucket that is gone): the operator can put that right.
 */
export function storageError(error: unknown): unknown {
  if (error instanceof HttpError) return error
  if (isNoRoom(error)) return new HttpError('insufficient_storage', { cause: error })
  const ofS3 =
    isTransient(error) || statusOf(error) !== undefined || isCode(error, 'CredentialsProviderError')
  return ofS3 ? unavailable('The storage is not available for the moment; try again.', error) : error
}

/** Bytes that counted are gone: the upload can't be saved. */
export const lost = (why: string, cause?: unknown): HttpError =>
  new HttpError('storage_lost', { detail: `The storage has lost this upload: ${why}.`, cause })

import { pino, type DestinationStream, type Logger } from 'pino'
import { HttpError } from '../core/errors.ts'
import type { ByteRange } from '../core/range.ts'
import type { Upload } from '../core/upload.ts'

/** Structured lines on standard output. What is logged is chosen field by field, so no header or key gets in. */
export const createLog = (level: string, destination?: DestinationStream): Logger =>
  pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination ?? pino.destination(1))

export interface RequestLine {
  requestId: string
  /** null when it belongs to no trace */
  traceId: string | null
  method: string
  route: string
  /** 499 when the client left before the answer */
  status: number
  ms: number
  userId: string
  uploadId: string
  /** as announced; null when it is chunked */
  bodyBytes: number | null
  /** what it gave of a file; null when it was no download */
  download: { upload: Upload; ranges: readonly ByteRange[] | null; bytes: number } | null
  failure: unknown
}

/** The one line that a request gets. */
export function logRequest(log: Logger, line: RequestLine): void {
  const { requestId, traceId, method, route, status, ms, userId, uploadId, failure } = line
  const fields = {
    request_id: requestId,
    ...(traceId !== null && { trace_id: traceId }),
    method,
    route,
    status,
    ms: Math.round(ms * 10) / 10,
    ...(userId && { user: userId }),
    ...(uploadId && { upload_id: uploadId }),
    ...reasonOf(failure, status),
  }
  const unexpected = failure !== undefined && !(failure instanceof HttpError)
  if (status >= 500 || unexpected) log.error(fields, 'request failed')
  else log.info(fields, 'request')
}

/** Ours tells its code; what we did not expect tells everything, in the log and nowhere else. */
function reasonOf(failure: unknown, status: number): object {
  if (failure === undefined) return {}
  if (!(failure instanceof HttpError)) return { err: failure }
  const { code, message, cause } = failure
  const told = { error_code: code, detail: message }
  if (!(cause instanceof Error)) return told
  // Below 500 the client is at fault: what it did has a name, if that.
  if (status >= 500) return { ...told, err: cause }
  return 'code' in cause && typeof cause.code === 'string' ? { ...told, reason: cause.code } : told
}

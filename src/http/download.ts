import { randomUUID } from 'node:crypto'
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { HttpError } from '../core/errors.ts'
import type { ChunkStore } from '../core/ports/store.ts'
import { type ByteRange, planRanges } from '../core/range.ts'
import { publicStatus, type Upload } from '../core/upload.ts'
import { judge, lists, validatorsOf, type Validators } from './conditions.ts'
import { contentHeaders, disposition, safeMediaType } from './content-headers.ts'
import { parseRange, rangeStillApplies } from './range-header.ts'
import { sendParts, type Answer } from './send-parts.ts'

/** A client that takes nothing for so long has gone, and does not know it. */
const STALL_TIMEOUT_MS = 60_000

/** How a file is given, beside what follows from the file itself. */
export interface Presentation {
  asAttachment: boolean
  /** in place of the usual ones */
  headers: OutgoingHttpHeaders
}

const AS_USUAL: Presentation = { asAttachment: false, headers: {} }

/** What a download gives of an upload. */
export interface Download {
  readonly upload: Upload
  /** what was asked for and is there; null for all of it */
  ranges: readonly ByteRange[] | null
  /** of the file, handed to the connection so far */
  bytes: number
}

export const downloadOf = (upload: Upload): Download => ({ upload, ranges: null, bytes: 0 })

/**
 * Answers GET or HEAD with the bytes of an upload, or a GET with where the storage gives them. Resolves without an error when the client goes
 * away. When the store fails after the head went out, the connection is destroyed, so that no
 * client takes the part for the whole, and the store's error is thrown, to be logged only.
 * @throws {HttpError} conflict 409 before completion, precondition_failed 412, range_not_satisfiable 416
 */
export const serveFile = async (
  req: IncomingMessage,
  res: ServerResponse,
  download: Download,
  store: Pick<ChunkStore, 'read' | 'presign'>,
  stallTimeoutMs = STALL_TIMEOUT_MS,
  { asAttachment, headers }: Presentation = AS_USUAL,
): Promise<void> => {
  const { upload } = download
  const { status, size } = upload
  if (status !== 'COMPLETED' || size === null)
    throw new HttpError('conflict', {
      detail: `The upload is ${publicStatus(status)}: only a COMPLETED one can be downloaded.`,
    })

  const validators = validatorsOf(upload)
  const shared = { ...cacheHeaders(validators), ...headers }
  const type = safeMediaType(upload.contentType)
  if (store.presign && size > 0 && isForTheStorage(req, validators.etag)) {
    const as = {
      contentType: type,
      contentDisposition: disposition(type, upload.fileName, asAttachment),
      cacheControl: CACHE_CONTROL,
    }
    const location = await store.presign(upload, as)
    res.writeHead(302, { Location: location, 'Cache-Control': 'no-store', 'Content-Length': 0 }).end()
    return
  }
  const verdict = judge(req.headers, validators)
  if (verdict === 'failed')
    throw new HttpError('precondition_failed', {
      detail: 'The file is not the one that the request is about.',
    })
  if (verdict === 'unchanged') {
    res.writeHead(304, shared).end()
    return
  }

  // RFC 9110 §14.2: Range counts on GET alone, so HEAD tells of the whole file.
  const asked =
    req.method === 'GET' &&
    rangeStillApplies(req.headers['if-range']?.toString(), validators.etag, validators.modifiedMs)
  const ranges = planRanges(asked ? parseRange(req.headers.range) : null, size)
  if (ranges?.length === 0)
    throw new HttpError('range_not_satisfiable', { headers: { 'Content-Range': `bytes */${size}` } })

  const answer = planAnswer(ranges, size, type)
  answer.headers = { ...shared, ...contentHeaders(type, upload.fileName, asAttachment), ...answer.headers }
  download.ranges = ranges
  if (req.method === 'HEAD') res.writeHead(answer.status, answer.headers).end()
  else
    await sendParts(req, res, answer, {
      read: (range) => store.read(upload, range),
      sent: (bytes) => (download.bytes += bytes),
      stallTimeoutMs,
    })
}

/** RFC 9110 §15.3.7: one range is answered plainly, several as multipart/byteranges. */
function planAnswer(ranges: readonly ByteRange[] | null, size: number, type: string): Answer {
  const whole = { start: 0, end: size }
  const [first = whole, ...others] = ranges ?? []
  if (others.length === 0)
    return {
      status: ranges === null ? 200 : 206,
      headers: {
        'Content-Type': type,
        'Content-Length': first.end - first.start,
        ...(ranges && { 'Content-Range': contentRange(first, size) }),
      },
      parts: first.start < first.end ? [{ prefix: '', range: first }] : [],
      suffix: '',
    }

  const boundary = randomUUID()
  const parts = [first, ...others].map((range) => ({
    prefix: `\r\n--${boundary}\r\nContent-Type: ${type}\r\nContent-Range: ${contentRange(range, size)}\r\n\r\n`,
    range,
  }))
  const suffix = `\r\n--${boundary}--\r\n`
  const length = parts.reduce(
    (sum, { prefix, range }) => sum + prefix.length + range.end - range.start,
    suffix.length,
  )
  return {
    status: 206,
    headers: { 'Content-Type': `multipart/byteranges; boundary=${boundary}`, 'Content-Length': length },
    parts,
    suffix,
  }
}

const contentRange = ({ start, end }: ByteRange, size: number): string => `bytes ${start}-${end - 1}/${size}`

/**
 * Whether the storage is to answer in our place. It knows another ETag than ours, and no more than one
 * range: what speaks of the one or asks for the other is for us.
 */
function isForTheStorage({ method, headers }: IncomingMessage, etag: string): boolean {
  if (method !== 'GET' || headers.range?.includes(',')) return false
  const named = [headers['if-match'], headers['if-none-match'], headers['if-range']?.toString()]
  return !named.some((header) => header !== undefined && lists(header, etag, 'W/'))
}

const CACHE_CONTROL = 'private, no-cache'

const cacheHeaders = ({ etag, modifiedMs }: Validators): OutgoingHttpHeaders => ({
  ETag: etag,
  'Last-Modified': new Date(modifiedMs).toUTCString(),
  'Cache-Control': CACHE_CONTROL,
  'Cross-Origin-Resource-Policy': 'same-origin',
})

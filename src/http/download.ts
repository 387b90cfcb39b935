import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { create as contentDisposition } from 'content-disposition'
import { HttpError } from '../core/errors.ts'
import type { ChunkStore } from '../core/ports.ts'
import { type ByteRange, planRanges } from '../core/range.ts'
import { publicStatus, type Upload } from '../core/upload.ts'
import { httpDate, parseRange, rangeStillApplies } from './range-header.ts'

/** Longer names overrun what clients take for headers, once they are percent-encoded. */
const MAX_NAME_CHARACTERS = 200
/** A client that takes nothing for so long has gone, and does not know it. */
const STALL_TIMEOUT_MS = 60_000

/**
 * Answers GET or HEAD with the bytes of an upload. Resolves without an error when the client goes
 * away. When the store fails after the head went out, the connection is destroyed, so that no
 * client takes the part for the whole, and the store's error is thrown, to be logged only.
 * @throws {HttpError} conflict 409 before completion, precondition_failed 412, range_not_satisfiable 416
 */
export const serveFile = async (
  req: IncomingMessage,
  res: ServerResponse,
  upload: Upload,
  store: Pick<ChunkStore, 'read'>,
  stallTimeoutMs = STALL_TIMEOUT_MS,
): Promise<void> => {
  const { status, size } = upload
  if (status !== 'COMPLETED' || size === null)
    throw new HttpError('conflict', {
      detail: `The upload is ${publicStatus(status)}: only a COMPLETED one can be downloaded.`,
    })

  const validators = validatorsOf(upload)
  const shared = cacheHeaders(validators)
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

  const type = safeMediaType(upload.contentType)
  const answer = planAnswer(ranges, size, type)
  answer.headers = { ...shared, ...contentHeaders(type, upload.fileName), ...answer.headers }
  if (req.method === 'HEAD') res.writeHead(answer.status, answer.headers).end()
  else await send(req, res, answer, stallTimeoutMs, (range) => store.read(upload, range))
}

interface Part {
  /** what a multipart body says before the bytes */
  prefix: string
  range: ByteRange
}

interface Answer {
  status: 200 | 206
  headers: OutgoingHttpHeaders
  parts: Part[]
  suffix: string
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

async function send(
  req: IncomingMessage,
  res: ServerResponse,
  { status, headers, parts, suffix }: Answer,
  stallTimeoutMs: number,
  read: (range: ByteRange) => AsyncIterable<Uint8Array>,
): Promise<void> {
  const client = watch(req, res, stallTimeoutMs)
  try {
    for (const { prefix, range } of parts) {
      await pump(read(range), range.end - range.start, client, (chunk, isFirst) => {
        // Only now: a store that fails at its first byte can still be answered with an error.
        if (!res.headersSent) res.writeHead(status, headers)
        if (isFirst && prefix) res.write(prefix)
        res.write(chunk)
      })
      if (client.isGone()) return
    }
    if (!res.headersSent) res.writeHead(status, headers)
    res.end(suffix)
  } catch (error) {
    if (client.isGone()) return
    if (res.headersSent) res.destroy()
    throw error
  } finally {
    client.unwatch()
  }
}

interface Client {
  isGone(): boolean
  /** undefined when it takes more now; resolves when it does, or has gone */
  ready(): Promise<void> | undefined
  /** what to do when it goes */
  onGone: () => void
  unwatch(): void
}

/** By its socket: a response that waits for its turn behind a pipelined one is never told itself. */
function watch(req: IncomingMessage, res: ServerResponse, stallTimeoutMs: number): Client {
  const { socket } = req
  let wake = () => {}
  const client: Client = {
    isGone: () => res.destroyed || socket.destroyed,
    ready() {
      // A response without a socket waits behind a pipelined one: what it read now would lie in memory.
      const takes = res.socket !== null && !res.writableNeedDrain
      if (takes || client.isGone()) return undefined
      return new Promise((resolve) => {
        const stalled = setTimeout(() => socket.destroy(), stallTimeoutMs)
        wake = () => {
          clearTimeout(stalled)
          resolve()
        }
      })
    },
    onGone: () => {},
    unwatch: () => {
      socket.off('close', onClose)
      res.off('drain', onWake).off('socket', onWake)
    },
  }
  const onWake = () => wake()
  const onClose = () => {
    wake()
    client.onGone()
  }
  socket.setMaxListeners(0).once('close', onClose) // one of each pipelined response
  res.on('drain', onWake).on('socket', onWake)
  return client
}

/**
 * Hands on exactly `length` bytes, one chunk ahead of the client. When the client goes, the source
 * is told to return at once, even while its next chunk is awaited.
 * @throws when the source fails, or has fewer or more bytes
 */
async function pump(
  source: AsyncIterable<Uint8Array>,
  length: number,
  client: Client,
  write: (chunk: Uint8Array, isFirst: boolean) => void,
): Promise<void> {
  const chunks = source[Symbol.asyncIterator]()
  let released: Promise<unknown> | undefined
  const release = () => (released ??= (async () => chunks.return?.())())
  client.onGone = () => void release().catch(() => {}) // awaited below
  try {
    for (let left = length; left > 0;) {
      await client.ready()
      if (client.isGone()) return
      const next: IteratorResult<Uint8Array, unknown> = await chunks.next()
      if (client.isGone()) return
      if (next.done) throw new Error(`The store ended ${left} bytes early.`)
      const excess = next.value.length - left
      if (excess > 0) throw new Error(`The store gave ${excess} bytes too many.`)
      write(next.value, left === length)
      left -= next.value.length
    }
  } finally {
    await release()
  }
}

interface Validators {
  etag: string
  /** whole seconds, as Last-Modified has them */
  modifiedMs: number
}

/** A completed file never changes: its id is a strong ETag. */
const validatorsOf = ({ id, updatedAt }: Upload): Validators => ({
  etag: `"${id}"`,
  // RFC 9110 §8.8.2.1: never later than now, though the ledger's clock may be ahead of ours.
  modifiedMs: Math.floor(Math.min(updatedAt.getTime(), Date.now()) / 1000) * 1000,
})

/** In the order of RFC 9110 §13.2.2; only GET and HEAD come here. */
function judge(
  headers: IncomingHttpHeaders,
  { etag, modifiedMs }: Validators,
): 'go' | 'failed' | 'unchanged' {
  const match = headers['if-match']
  const noneMatch = headers['if-none-match']
  // A date that is none compares false with everything: §13.1.3 and §13.1.4 have it ignored.
  if (match !== undefined ? !lists(match, etag) : modifiedMs > httpDate(headers['if-unmodified-since']))
    return 'failed'
  // §13.1.2 compares weakly: a W/ in front of our tag makes no difference.
  if (
    noneMatch !== undefined
      ? lists(noneMatch, etag, 'W/')
      : modifiedMs <= httpDate(headers['if-modified-since'])
  )
    return 'unchanged'
  return 'go'
}

const lists = (header: string, etag: string, alsoWith = ''): boolean =>
  header.trim() === '*' ||
  (header.match(/(?:W\/)?"[^"]*"/g) ?? []).some((tag) => tag === etag || tag === alsoWith + etag)

const cacheHeaders = ({ etag, modifiedMs }: Validators): OutgoingHttpHeaders => ({
  ETag: etag,
  'Last-Modified': new Date(modifiedMs).toUTCString(),
  'Cache-Control': 'private, no-cache',
  'Cross-Origin-Resource-Policy': 'same-origin',
})

/** Whatever was uploaded, it must not run as a page of our origin. */
const contentHeaders = (type: string, fileName: string): OutgoingHttpHeaders => ({
  'Accept-Ranges': 'bytes',
  'Content-Disposition': disposition(type, fileName),
  'Content-Security-Policy': "sandbox; default-src 'none'",
  'X-Content-Type-Options': 'nosniff',
})

/** media-type of RFC 9110 §8.3.1, so written that no input makes it backtrack for long. */
const MEDIA_TYPE =
  /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+(?:[\t ]*;(?:[\t ]*[\w!#$%&'*+.^`|~-]+=(?:[\w!#$%&'*+.^`|~-]+|"(?:[\t !\x23-\x5b\x5d-\x7e]|\\[\t -\x7e])*"))?)*$/

const safeMediaType = (type: string | null): string =>
  type !== null && MEDIA_TYPE.test(type) ? type : 'application/octet-stream'

const INLINE = /^(?:(?:image|audio|video)\/[^;]+|text\/plain|application\/pdf)$/

/** RFC 6266: a name in ASCII for everybody, and the real one in UTF-8 (RFC 8187) where they differ. */
function disposition(mediaType: string, fileName: string): string {
  const essence = mediaType.split(';', 1).join().trim().toLowerCase()
  const name = safeFileName(fileName)
  return contentDisposition(name, {
    type: INLINE.test(essence) && !/svg|xml|html/.test(essence) ? 'inline' : 'attachment',
    // RFC 6266 appendix D: clients disagree on escapes and on what looks like percent-encoding.
    fallback: name.replace(/[^\x20-\x7e]|["%\\]/gu, '_'),
  })
}

function safeFileName(fileName: string): string {
  // Lone surrogates can't be encoded: Buffer makes them U+FFFD.
  const segment = Buffer.from(fileName).toString().split(/[\\/]/).at(-1) ?? ''
  // Control characters break headers, bidi ones disguise an extension.
  const name = segment.replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, '_').trim()
  if (/^\.*$/.test(name)) return 'download'
  const extension = /\.[^.]{1,16}$/.exec(name)?.[0] ?? ''
  const stem = Array.from(name.slice(0, name.length - extension.length))
  return stem.slice(0, MAX_NAME_CHARACTERS).join('') + extension
}

import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { HttpError } from '../core/errors.ts'
import type { ChunkStore } from '../core/ports/store.ts'
import { type ByteRange, planRanges } from '../core/range.ts'
import { publicStatus, type Upload } from '../core/upload.ts'
import { contentHeaders, disposition, safeMediaType } from './content-headers.ts'
import { httpDate, parseRange, rangeStillApplies } from './range-header.ts'

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
  else await send(req, res, answer, stallTimeoutMs, download, (range) => store.read(upload, range))
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
  download: Download,
  read: (range: ByteRange) => AsyncIterable<Uint8Array>,
): Promise<void> {
  const client = watch(req, res, stallTimeoutMs)
  try {
    for (const { prefix, range } of parts) {
      await pump(read(range), range.end - range.start, client, (chunk, isFirst) => {
        // Only now: a store that fails at its first byte can still be answered with an error.
        if (!res.headersSent) res.writeHead(status, headers)
        if (isFirst && prefix) res.write(prefix)
        res.write(chunk, client.wake)
        download.bytes += chunk.length
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
  /** undefined when it has taken all and takes more, or has gone; resolves when that is to be asked again */
  ready(): Promise<void> | undefined
  wake: () => void
  /** what to do when it goes */
  onGone: () => void
  unwatch(): void
}

/** By its socket: a response that waits for its turn behind a pipelined one is never download itself. */
function watch(req: IncomingMessage, res: ServerResponse, stallTimeoutMs: number): Client {
  const { socket } = req
  let wake = () => {}
  const client: Client = {
    isGone: () => res.destroyed || socket.destroyed,
    ready() {
      // A response without a socket waits behind a pipelined one: what it read now would lie in memory.
      const takes = res.socket !== null && res.writableLength === 0
      if (takes || client.isGone()) return undefined
      return new Promise((resolve) => {
        let before = progressOf(socket)
        const looking = setInterval(() => {
          const now = progressOf(socket)
          // Behind a pipelined response it is our turn to wait while nothing waits for the client.
          const moves = now.written !== before.written || now.queued !== before.queued
          if (!moves && (res.socket !== null || now.queued > 0)) socket.destroy()
          before = now
        }, stallTimeoutMs)
        wake = () => {
          clearInterval(looking)
          resolve()
        }
      })
    },
    wake: () => wake(),
    onGone: () => {},
    unwatch: () => {
      socket.off('close', onClose)
      res.off('drain', client.wake).off('socket', client.wake)
    },
  }
  const onClose = () => {
    wake()
    client.onGone()
  }
  socket.setMaxListeners(0).once('close', onClose) // one of each pipelined response
  res.on('drain', client.wake).on('socket', client.wake)
  return client
}

/**
 * How far a client has got. Of a chunk that it takes slowly node tells only when all of it is through:
 * what is left of it, its handle knows.
 */
function progressOf(socket: Socket): { written: number; queued: number } {
  const { _handle: handle } = socket as { _handle?: { writeQueueSize?: number } | null }
  return { written: socket.bytesWritten, queued: handle?.writeQueueSize ?? 0 }
}

/**
 * Hands on exactly `length` bytes, one chunk ahead of the client. When the client goes, the source
 * is download to return at once, even while its next chunk is awaited.
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
      await taken(client)
      if (client.isGone()) return
      const next: IteratorResult<Uint8Array, unknown> = await chunks.next()
      if (client.isGone()) return
      if (next.done) throw new Error(`The store ended ${left} bytes early.`)
      const excess = next.value.length - left
      if (excess > 0) throw new Error(`The store gave ${excess} bytes too many.`)
      write(next.value, left === length)
      left -= next.value.length
    }
    // What the source gave last is its own again once it is download to return.
    await taken(client)
  } finally {
    await release()
  }
}

async function taken(client: Client): Promise<void> {
  for (let wait = client.ready(); wait; wait = client.ready()) await wait
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

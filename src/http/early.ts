import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { announcedLength } from './body.ts'

/** That much of a body is cheaper to read than a new connection. */
const DRAINABLE_BYTES = 64 * 1024
/** How long a client may go on sending before the connection is cut. */
const LINGER_MS = 2_000

/**
 * Call before an answer that may go out ahead of the request's body. Where much of the body is
 * outstanding the connection closes, so that neither side waits for a drain.
 */
export function answerEarly(req: IncomingMessage, res: ServerResponse): void {
  if (req.complete || res.headersSent) return
  // Whoever was reading is done: what still comes is dropped, so that the client can finish sending.
  req.removeAllListeners('data').resume()
  lingerOnClose(req.socket)
  const length = announcedLength(req)
  if (length === null || length > DRAINABLE_BYTES) res.setHeader('Connection', 'close')
}

/**
 * Closes in two steps (RFC 9112 section 9.6), whoever wants the connection closed: our half first, and
 * the client's bytes are dropped for a moment, since closing at once would reset the connection and lose
 * the answer on its way.
 */
function lingerOnClose(socket: Socket): void {
  socket.destroySoon = () => {
    socket.end()
    cutAfterAWhile(socket)
  }
}

function cutAfterAWhile(socket: Duplex): void {
  const cut = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('close', () => clearTimeout(cut))
}

/** What node answers to bytes that it can't read as a request. */
const MALFORMED: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Payload Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

/**
 * For the server's `clientError`: as node does by itself, but without losing the answer when more of such
 * bytes are on their way.
 */
export function answerMalformed(error: NodeJS.ErrnoException, socket: Duplex): void {
  // More of what was answered: dropped.
  if (socket.writableEnded) return
  // Node's own note of the answer that is under way: nothing may come between its bytes.
  const { _httpMessage: answer } = socket as { _httpMessage?: ServerResponse | null }
  if (!socket.writable || answer?.headersSent) {
    socket.destroy(error)
    return
  }
  socket.end(`HTTP/1.1 ${MALFORMED[error.code ?? ''] ?? '400 Bad Request'}\r\nConnection: close\r\n\r\n`)
  cutAfterAWhile(socket)
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import { announcedLength } from './body.ts'

/** That much of a body is cheaper to read than a new connection. */
const DRAINABLE_BYTES = 64 * 1024
/** How long a client may go on sending before the connection is cut. */
const LINGER_MS = 2_000

/**
 * Call before an answer that may go out ahead of the request's body. Where much of the body is
 * outstanding the connection closes, so that neither side waits for a drain (RFC 9112 section 9.6):
 * our half first, and the client's bytes are dropped for a moment, since closing at once would reset
 * the connection and lose the answer on its way.
 */
export function answerEarly(req: IncomingMessage, res: ServerResponse): void {
  if (req.complete || res.headersSent) return
  // Whoever was reading is done: what still comes is dropped, so that the client can finish sending.
  req.removeAllListeners('data').resume()
  const length = announcedLength(req)
  if (length !== null && length <= DRAINABLE_BYTES) return
  res.setHeader('Connection', 'close')
  const { socket } = req
  socket.destroySoon = () => {
    socket.end()
    const cut = setTimeout(() => socket.destroy(), LINGER_MS)
    socket.once('close', () => clearTimeout(cut))
  }
}

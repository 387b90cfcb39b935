import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'

/** Where the bytes of a body go, as the socket reads them. */
export interface Sink {
  /** The place for the next bytes; asked again after each `filled`, also while reading is stopped. */
  target(): Uint8Array
  /** `bytes` came into the last target. @returns false to stop reading */
  filled(bytes: number): boolean
}

/** A body that goes past the HTTP parser, from the socket into our own buffers. */
export interface Lane {
  /** What the parser has handed over already. */
  readonly early: Buffer[]
  read(): void
  /** Call when the body has all come. */
  done(): void
  /** Reads the bytes that are `left` and drops them. */
  drop(left: number): void
}

/** What node keeps on its sockets for `onread`, and on those of an HTTP server. */
type ServerSocket = Socket & {
  _handle: Handle | null
  _server: unknown
  server: { emit(event: 'connection', socket: Socket): boolean }
}

interface Handle {
  reading: boolean
  /** that a parser reads it; the next one will not while it is set */
  _consumed?: boolean
  readStart(): number
  readStop(): number
  useUserBuffer(buffer: Uint8Array): void
}

interface OnRead {
  buffer: symbol
  callback: symbol
  generator: symbol
}

const DROP_BYTES = 64 * 1024

/**
 * Takes the rest of a request's body off the HTTP parser. The socket and the response stay what they
 * are; once the body has come and the answer is out, the connection goes back to its server as a new
 * one, which is what `http.Server` documents its 'connection' event for.
 *
 * The caller has seen to it that the body has one Content-Length, and that the parser is not at work.
 * @returns null where node's inside is not as it must be; nothing has changed then
 * @see https://nodejs.org/api/http.html#event-connection
 */
export function enterFastLane(
  req: IncomingMessage,
  res: ServerResponse,
  sink: Sink,
  onHandBack: (socket: Socket) => void,
): Lane | null {
  const socket = req.socket as ServerSocket
  const keys = onReadKeys(socket)
  const handle = socket._handle
  if (!keys || !handle || !isPlain(socket, handle) || res.socket !== socket) return null

  // Node's own way to let go: with a listener for data the parser no longer consumes the handle.
  const nobody = () => {}
  socket.on('data', nobody).off('data', nobody)
  divert(socket, handle, keys, sink)
  const early: Buffer[] = []
  for (let piece = req.read() as Buffer | null; piece; piece = req.read() as Buffer | null) early.push(piece)
  // It may have been paused for a full request; while it is, nobody would be told of its end.
  socket.resume()

  const read = () => {
    if (socket.destroyed || handle.reading) return
    handle.reading = true
    handle.readStart()
  }
  let over = false
  let outstanding = Infinity

  const handBack = (): void => {
    if (!over || outstanding > 0 || socket.destroyed || socket.writableEnded) return
    if (socket._handle !== handle) return
    for (const key of Object.values(keys)) Reflect.set(socket, key, null)
    const next = move(socket, handle)
    onHandBack(next)
    socket.server.emit('connection', next)
    socket.destroy()
  }
  res.once('finish', () => {
    over = true
    // Node's own work at the end of a response comes first.
    process.nextTick(handBack)
  })

  return {
    early,
    read,
    done() {
      outstanding = 0
      // Never from within a read: node stops the handle's reading behind it.
      process.nextTick(handBack)
    },
    drop(left) {
      outstanding = left
      const scratch = Buffer.allocUnsafe(DROP_BYTES)
      divert(socket, handle, keys, {
        target: () => scratch.subarray(0, Math.min(outstanding, DROP_BYTES)),
        filled(bytes) {
          outstanding -= bytes
          if (outstanding === 0) process.nextTick(handBack)
          return outstanding > 0
        },
      })
      read()
    },
  }
}

/** The symbols under which a socket keeps what its option `onread` sets; null where it has none such. */
function onReadKeys(socket: Socket): OnRead | null {
  const symbols = Object.getOwnPropertySymbols(socket)
  const find = (name: string) => symbols.find(({ description }) => description === name)
  const [buffer, callback, generator] = [find('kBuffer'), find('kBufferCb'), find('kBufferGen')]
  return buffer && callback && generator ? { buffer, callback, generator } : null
}

const isPlain = (socket: ServerSocket, handle: Handle): boolean =>
  (socket as object).constructor === Socket &&
  handle.constructor.name === 'TCP' &&
  typeof handle.useUserBuffer === 'function' &&
  typeof socket.server?.emit === 'function'

function divert(socket: Socket, handle: Handle, keys: OnRead, sink: Sink): void {
  const target = sink.target()
  Reflect.set(socket, keys.buffer, target)
  Reflect.set(socket, keys.callback, (bytes: number) => sink.filled(bytes))
  Reflect.set(socket, keys.generator, () => sink.target())
  handle.useUserBuffer(target)
}

/** The connection as a new socket; the old one is left with nothing. */
function move(socket: ServerSocket, handle: Handle): Socket {
  if (handle.reading) {
    handle.reading = false
    handle.readStop()
  }
  handle._consumed = false
  const { _server: listening } = socket
  socket._handle = null
  socket._server = null
  const next = new Socket({ handle, allowHalfOpen: true } as object) as ServerSocket
  next._server = listening
  next.server = socket.server
  return next
}

/** Lets the parser come to its end: what calls us may be called by it. */
export const outsideParser = (): Promise<unknown> => setImmediate()

import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { ByteRange } from '../core/range.ts'

/** Bytes of a file, and what a multipart body says before them. */
export interface Part {
  prefix: string
  range: ByteRange
}

/** A response as it was planned; the length in its headers is that of its parts and its suffix. */
export interface Answer {
  status: 200 | 206
  headers: OutgoingHttpHeaders
  parts: readonly Part[]
  suffix: string
}

/** Where the bytes come from, who is told how many were handed to the connection, and how long it may take none. */
export interface Sending {
  read(range: ByteRange): AsyncIterable<Uint8Array>
  sent(bytes: number): void
  stallTimeoutMs: number
}

/**
 * Sends an answer as its client takes it. Resolves without an error when the client goes away; when the source
 * fails after the head went out, the connection is destroyed.
 * @throws what the source throws, or when it has fewer or more bytes than it should
 */
export async function sendParts(
  req: IncomingMessage,
  res: ServerResponse,
  { status, headers, parts, suffix }: Answer,
  { read, sent, stallTimeoutMs }: Sending,
): Promise<void> {
  const client = watch(req, res, stallTimeoutMs)
  try {
    for (const { prefix, range } of parts) {
      await pump(read(range), range.end - range.start, client, (chunk, isFirst) => {
        // Only now: a store that fails at its first byte can still be answered with an error.
        if (!res.headersSent) res.writeHead(status, headers)
        if (isFirst && prefix) res.write(prefix)
        res.write(chunk, client.wake)
        sent(chunk.length)
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

/** By its socket: a response that waits for its turn behind a pipelined one is never told itself. */
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
    // What the source gave last is its own again once it is told to return.
    await taken(client)
  } finally {
    await release()
  }
}

async function taken(client: Client): Promise<void> {
  for (let wait = client.ready(); wait; wait = client.ready()) await wait
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import { HttpError } from '../core/errors.ts'
import type { Body } from '../core/ports/body.ts'

export interface BodyOptions {
  /** a body that sends nothing for so long while we are reading is ended */
  idleTimeoutMs: number
  /** its share, at this moment, of what bodies may gather together; absent where it is alone */
  shareBytes?: () => number
}

/** Silence that long makes a writer give way to the next one. */
const IDLE_MS = 3_000
/** What gathers at most while a write is under way; past that the client is held back. */
const HIGH_WATER_BYTES = 1024 * 1024

/** Whether bytes are waited for, since when, and for how long they may be. */
export interface Wait {
  /** Resolves when `wake` is called, or after the timeout, which it tells. */
  bytes(): Promise<void>
  wake(): void
  idle(): boolean
}

export function createWait(timeoutMs: number, onTimeout: () => void): Wait {
  let waiting: { since: number; wake: () => void } | null = null
  const wake = () => {
    const waiter = waiting
    waiting = null
    waiter?.wake()
  }
  return {
    bytes: () =>
      new Promise<void>((resolve) => {
        const timer = setTimeout(onTimeout, timeoutMs)
        waiting = {
          since: performance.now(),
          wake: () => {
            clearTimeout(timer)
            resolve()
          },
        }
      }),
    wake,
    idle: () => waiting !== null && performance.now() - waiting.since >= IDLE_MS,
  }
}

/**
 * The body of a request, pulled. Not a byte is read, and no `100 Continue` sent, before the first
 * `take`; while nobody takes, TCP holds the client back.
 */
export function openBody(req: IncomingMessage, res: ServerResponse, options: BodyOptions): Body {
  let gathered: Buffer[] = []
  let gatheredBytes = 0
  let started = false
  let ended = false
  let cause: Error | null = null
  const { idleTimeoutMs, shareBytes = () => HIGH_WATER_BYTES } = options
  const isFull = () => gatheredBytes >= Math.min(HIGH_WATER_BYTES, shareBytes())
  const finish = (why: Error | null) => {
    if (ended) return
    ended = true
    cause = why
    req.off('data', onData)
    req.off('end', onEnd)
    req.off('close', onClose)
    wait.wake()
  }
  const wait = createWait(idleTimeoutMs, () => finish(timedOut()))
  const onData = (bytes: Buffer) => {
    gathered.push(bytes)
    gatheredBytes += bytes.length
    if (isFull()) req.pause()
    wait.wake()
  }
  const onEnd = () => finish(null)
  const onClose = () => finish(broken())
  // Not taken off again: a late error without a listener would end the process.
  const onError = (error: Error) => finish(broken(error))

  const start = () => {
    started = true
    if (req.destroyed) return finish(req.readableEnded ? null : broken())
    sayContinue(req, res)
    req.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onError)
  }

  const cut = (maxBytes: number): Buffer[] => {
    if (gatheredBytes <= maxBytes) {
      const all = gathered
      gathered = []
      gatheredBytes = 0
      return all
    }
    const taken: Buffer[] = []
    let room = maxBytes
    while (room > 0) {
      const first = gathered[0] as Buffer
      if (first.length > room) gathered[0] = first.subarray(room)
      else gathered.shift()
      const piece = first.length > room ? first.subarray(0, room) : first
      taken.push(piece)
      room -= piece.length
    }
    gatheredBytes -= maxBytes
    return taken
  }

  return {
    length: announcedLength(req),
    get cause() {
      return cause
    },
    async take(maxBytes) {
      if (!started && !ended) start()
      if (gatheredBytes === 0 && !ended) {
        if (req.isPaused()) req.resume()
        await wait.bytes()
      }
      if (gatheredBytes === 0) return null
      const bytes = cut(maxBytes)
      if (!ended && !isFull() && req.isPaused()) req.resume()
      return bytes
    },
    idle: () => ended || req.destroyed || wait.idle(),
    stop(why) {
      if (ended) return
      req.pause()
      finish(why)
    },
  }
}

/** Content-Length; null when the body is chunked, 0 when there is none (RFC 9112 section 6.3). */
export function announcedLength(req: IncomingMessage): number | null {
  if (req.headers['transfer-encoding'] !== undefined) return null
  return Number(req.headers['content-length'] ?? 0)
}

/** RFC 9110 section 15.2: never to an HTTP/1.0 client. */
export function sayContinue(req: IncomingMessage, res: ServerResponse): void {
  if (req.headers.expect && req.httpVersion === '1.1' && !res.headersSent) res.writeContinue()
}

export const broken = (cause?: Error) => new HttpError('client_closed', { cause })
export const timedOut = () => new HttpError('client_closed', { detail: 'The body was silent for too long.' })

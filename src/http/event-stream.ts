import { HttpError, throttled, unavailable } from '../core/errors.ts'
import type { Meter } from '../core/ports/meter.ts'
import { asker, type Exchange } from './exchange.ts'

/** An open answer of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
export interface EventStream {
  /**
   * Tells `data` as JSON. While the client does not take what was sent, the newest of each `about` waits
   * for it and nothing else.
   */
  send(event: string, about: string, data: unknown): void
  end(): void
  /** resolves when it is over, whoever ended it */
  readonly over: Promise<void>
}

export interface EventStreams {
  /**
   * @throws {HttpError} throttled 429 where as many are open as may be, client_closed where nobody listens any
   * more, unavailable 503 in a shutdown
   */
  open(exchange: Exchange): EventStream
  /** Ends all of them, and opens no more. */
  close(): void
}

export interface StreamLimits {
  /** of one user, and of the tokens for one upload */
  perUser: number
  overall: number
  /** how often a silent stream shows that it lives */
  heartbeatMs: number
  /** how long a stream lives: who was let in is asked for their key again after that */
  maxMs: number
}

export const STREAM_LIMITS: StreamLimits = {
  perUser: 8,
  overall: 256,
  heartbeatMs: 15_000,
  maxMs: 15 * 60_000,
}

/** The streams of a process, which ends them when it shuts down: they would hold it up. */
export function createEventStreams(
  meter: Pick<Meter, 'throttled'>,
  limits: StreamLimits = STREAM_LIMITS,
): EventStreams {
  const open = new Set<{ by: string; end(): void }>()
  let closed = false

  return {
    open(exchange) {
      const { req, res } = exchange
      const by = asker(exchange)
      // Who went while the guards were asked is told by no event any more: the stream would stay for good.
      if (res.destroyed || req.socket.destroyed) throw new HttpError('client_closed')
      if (closed) throw unavailable('The server is shutting down.')
      const own = [...open].filter((stream) => stream.by === by).length
      if (own >= limits.perUser || open.size >= limits.overall) {
        meter.throttled('event_stream_limit')
        throw throttled('event_stream_limit', 5)
      }
      const stream = start(exchange, limits)
      // Who takes nothing would hold up the shutdown with what waits for them.
      const end = () => (res.writableNeedDrain ? void res.destroy() : stream.end())
      const entry = { by, end }
      open.add(entry)
      void stream.over.then(() => open.delete(entry))
      return stream
    },
    close() {
      closed = true
      for (const { end } of open) end()
    },
  }
}

function start({ req, res }: Exchange, { heartbeatMs, maxMs }: StreamLimits): EventStream {
  const waiting = new Map<string, string>()
  let stalledBeats = 0
  res.writeHead(200, {
    'Content-Type': 'text/event-stream; charset=utf-8',
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    // nginx would gather the events.
    'X-Accel-Buffering': 'no',
  })
  res.flushHeaders()

  const flush = () => {
    stalledBeats = 0
    for (const [about, frame] of waiting) {
      if (res.writableNeedDrain || res.writableEnded) return
      waiting.delete(about)
      res.write(frame)
    }
  }
  const beat = () => {
    // Its end waits behind a pipelined response, which has limits of its own.
    if (res.writableEnded && res.socket === null) return
    // Node needs no drain of what has ended, and a write behind the end is an error that nobody catches.
    if (!res.writableNeedDrain && !res.writableEnded) res.write(':\n\n')
    // Who takes nothing for so long has gone without a word.
    else if ((stalledBeats += 1) > 1) res.destroy()
  }
  const end = () => {
    if (!res.writableEnded) res.end()
  }
  const heartbeat = setInterval(beat, heartbeatMs)
  const tooOld = setTimeout(end, maxMs)
  const over = new Promise<void>((resolve) => {
    const done = () => {
      clearInterval(heartbeat)
      clearTimeout(tooOld)
      req.socket.off('close', done)
      resolve()
    }
    // The socket's as well: a response that waits behind a pipelined one is never told.
    req.socket.setMaxListeners(0).once('close', done)
    res.once('close', done).on('drain', flush)
  })

  return {
    send(event, about, data) {
      if (res.writableEnded || res.destroyed) return
      const frame = `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
      if (res.writableNeedDrain) waiting.set(about, frame)
      else res.write(frame)
    },
    end,
    over,
  }
}

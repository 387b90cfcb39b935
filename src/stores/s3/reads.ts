import { setMaxListeners } from 'node:events'
import type { ByteRange } from '../../core/range.ts'
import type { Bucket } from './bucket.ts'
import { isTransient } from './errors.ts'
import type { Retry } from './retry.ts'

export interface Reading {
  bucket: Pick<Bucket, 'get'>
  retry: Pick<Retry, 'backOff' | 'maxRetries'>
  /** for what is read ahead, of all downloads together; 0 reads nothing ahead */
  aheadBudget: AheadBudget
}

/** Memory that is given at once or not at all: nobody waits for a slow reader to give it back. */
export interface AheadBudget {
  take(bytes: number): boolean
  giveBack(bytes: number): void
}

export function createAheadBudget(totalBytes: number): AheadBudget {
  let free = totalBytes
  return {
    take(bytes) {
      if (bytes > free) return false
      free -= bytes
      return true
    },
    giveBack: (bytes) => {
      free += bytes
    },
  }
}

export interface Source {
  key: string
  range: ByteRange
  /** what the object must be; absent or null for whatever it is at the first byte */
  etag?: () => Promise<string | null>
}

const PIECE_BYTES = 8 * 1024 * 1024
/** Pieces under way beside the one that is being sent. */
const AHEAD = 3

/**
 * The bytes of an object, each once, whatever breaks on the way. A long range is read in pieces, the
 * next ones ahead as far as there is memory for them. `return()` breaks off what is under way, also
 * while a byte is awaited, which the `return` of a generator would queue up behind.
 * @param failureOf how failures are told
 */
export const readObject = (
  reading: Reading,
  source: Source,
  failureOf: (error: unknown) => unknown = (error) => error,
): AsyncIterable<Uint8Array> => ({
  [Symbol.asyncIterator]() {
    const stop = new AbortController()
    const bytes = readPieces(reading, source, stop)
    return {
      async next() {
        try {
          return await bytes.next()
        } catch (error) {
          throw failureOf(error)
        }
      },
      async return() {
        stop.abort()
        await bytes.return()
        return { done: true, value: undefined }
      },
    }
  },
})

async function* readPieces(
  reading: Reading,
  { key, range, etag }: Source,
  stop: AbortController,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { signal } = stop
  setMaxListeners(0, signal)
  const seen = { etag: (await etag?.()) ?? null }
  const ahead: Promise<Uint8Array[]>[] = []
  let fetched = range.start
  const nextPiece = (): ByteRange => {
    const piece = { start: fetched, end: Math.min(fetched + PIECE_BYTES, range.end) }
    fetched = piece.end
    return piece
  }
  const readAhead = () => {
    while (ahead.length < AHEAD && fetched < range.end && reading.aheadBudget.take(PIECE_BYTES))
      ahead.push(collect(streamPiece(reading, key, nextPiece(), seen, signal)))
  }

  try {
    while (fetched < range.end || ahead.length > 0) {
      const piece = ahead.shift()
      if (piece) {
        try {
          yield* await piece
        } finally {
          reading.aheadBudget.giveBack(PIECE_BYTES)
        }
      } else
        for await (const bytes of streamPiece(reading, key, nextPiece(), seen, signal)) {
          // Not before the first byte: it tells which object this is.
          readAhead()
          yield bytes
        }
      readAhead()
    }
  } finally {
    stop.abort()
    reading.aheadBudget.giveBack(ahead.length * PIECE_BYTES)
  }
}

/** What fails is told to whoever waits for it, which may be nobody. */
function collect(piece: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> {
  const all = async () => {
    const pieces: Uint8Array[] = []
    for await (const bytes of piece) pieces.push(bytes)
    return pieces
  }
  const collected = all()
  collected.catch(() => {})
  return collected
}

/** One request, unless it breaks: then the rest is asked for, as long as that gets on. */
async function* streamPiece(
  { bucket, retry }: Reading,
  key: string,
  { start, end }: ByteRange,
  seen: { etag: string | null },
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  let at = start
  let failures = 0
  while (at < end) {
    try {
      const { body, etag } = await bucket.get(key, { start: at, end }, seen.etag, signal)
      seen.etag = etag
      for await (const bytes of body as AsyncIterable<Uint8Array>) {
        at += bytes.length
        failures = 0
        yield bytes
      }
      if (at < end) throw endedEarly(key, at)
    } catch (error) {
      signal.throwIfAborted()
      failures += 1
      if (!isTransient(error) || failures > retry.maxRetries) throw error
      await retry.backOff('GetObject', failures)
    }
  }
}

const endedEarly = (key: string, at: number) =>
  Object.assign(new Error(`${key} broke off at ${at}`), { code: 'ECONNRESET' })

import type { Delivery } from '../core/events.ts'
import { signed } from './sign.ts'

export interface Sender {
  secrets: readonly Uint8Array[]
  timeoutMs: number
  /** of the program, for `User-Agent` */
  version: string
}

/** Takes an event to its receiver. @returns why it has not arrived; null when it has */
export type Send = (endpoint: string, delivery: Delivery, signal: AbortSignal) => Promise<string | null>

/** of what went wrong */
const MOST_WORDS = 300
/** What is read of an answer, so that its connection can be used again. What it says does not matter. */
const MOST_ANSWER_BYTES = 64 * 1024

/** One POST. A redirect is an answer like any other: who may be told is what the configuration says. */
export const sender =
  ({ secrets, timeoutMs, version }: Sender): Send =>
  async (endpoint, { eventId, body }, signal) => {
    // Nobody is told of an end that was before.
    if (signal.aborted) return 'the process ends'
    const ending = new AbortController()
    let late = false
    const end = () => ending.abort()
    const timer = setTimeout(() => {
      late = true
      end()
    }, timeoutMs)
    signal.addEventListener('abort', end)
    try {
      const response = await fetch(endpoint, {
        method: 'POST',
        body,
        headers: {
          'Content-Type': 'application/json',
          'User-Agent': `upload-server/${version}`,
          ...signed({ id: eventId, body, at: new Date() }, secrets),
        },
        redirect: 'manual',
        signal: ending.signal,
      })
      await drop(response)
      if (response.ok) return null
      const isRedirect = response.status >= 300 && response.status < 400
      return `status ${response.status}${isRedirect ? ', and redirects are not followed' : ''}`
    } catch (error) {
      return late ? `no answer within ${timeoutMs / 1000} s` : wordsOf(error)
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
    }
  }

/** Its status is what was said: a body that breaks off, or never ends, changes nothing. */
async function drop({ body }: Response): Promise<void> {
  if (!body) return
  let bytes = 0
  try {
    for await (const piece of body as AsyncIterable<Uint8Array>) {
      bytes += piece.length
      if (bytes > MOST_ANSWER_BYTES) break
    }
  } catch {
    // The answer is known.
  }
}

/** What `fetch` hides in causes: the code of a network error, or its message. */
function wordsOf(error: unknown): string {
  let innermost = error
  while (innermost instanceof Error && innermost.cause !== undefined) innermost = innermost.cause
  if (innermost instanceof Error && 'code' in innermost && typeof innermost.code === 'string')
    return innermost.code
  const words = innermost instanceof Error ? innermost.message : String(innermost)
  // They may have come from the other side, and not every database stores everything.
  return words.slice(0, MOST_WORDS).replaceAll('\0', '').toWellFormed()
}

import { ApiError } from './api.ts'

const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 15_000
const TRIES = 20

/** No answer, too many requests, a lock, or a failure on the server's side: later it may be another one. */
const isPassing = (error: unknown): error is ApiError =>
  error instanceof ApiError &&
  (error.status === 0 || error.status === 423 || error.status === 429 || error.status >= 500)

/** Tries again what fails for the moment, as late as the server asks for or later and later. */
export async function persistently<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work()
    } catch (error) {
      signal.throwIfAborted()
      if (!isPassing(error) || tries >= TRIES) throw error
      const backoff = Math.min(FIRST_WAIT_MS * 2 ** (tries - 1), LONGEST_WAIT_MS)
      // Those that were refused together don't come back together.
      await pause((error.retryAfterMs ?? backoff) * (1 + Math.random() / 2), signal)
    }
  }
}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop)
      resolve()
    }, ms)
    signal.addEventListener('abort', stop, { once: true })
  })

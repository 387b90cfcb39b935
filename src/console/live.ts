import { ApiError, type Api } from './api.ts'
import { readEvents, type ServerEvent } from './event-reader.ts'

const FIRST_WAIT_MS = 1_000
const LONGEST_WAIT_MS = 30_000

export interface Live {
  /** the stream has been opened, and tells everything again */
  opened(): void
  event(event: ServerEvent): void
  /** it broke, and is tried again */
  lost(): void
}

/**
 * Follows the events of the user's uploads while the page is seen: a hidden one gives its connection back.
 */
export function followUploads(api: Api, live: Live): void {
  let current: AbortController | null = null
  const start = () => {
    current?.abort()
    current = document.hidden ? null : new AbortController()
    if (current) void follow(api, live, current.signal)
  }
  document.addEventListener('visibilitychange', start)
  start()
}

async function follow(api: Api, live: Live, signal: AbortSignal): Promise<void> {
  let waitMs = FIRST_WAIT_MS
  while (!signal.aborted) {
    try {
      const { body } = await api.send('GET', 'v1/events', { signal })
      if (!body) return
      live.opened()
      for await (const event of readEvents(body)) {
        live.event(event)
        if (event.event === 'ready') waitMs = FIRST_WAIT_MS
      }
      // The server ends streams after a while: nothing is lost then.
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof ApiError && error.status === 401) return
      live.lost()
      waitMs = Math.max(waitMs, (error instanceof ApiError && error.retryAfterMs) || 0)
    }
    await new Promise((resolve) => setTimeout(resolve, waitMs))
    waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)
  }
}

/** An answer that is no success, or none at all (status 0). */
export class ApiError extends Error {
  readonly status: number
  /** what the server asks to wait before another try; null where it says nothing */
  readonly retryAfterMs: number | null

  constructor(status: number, message: string, retryAfterMs: number | null = null) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.retryAfterMs = retryAfterMs
  }
}

export interface Api {
  /** the URL of a path below the page, which may lie behind a prefix */
  url(path: string): string
  headers(): Record<string, string>
  /** @throws {ApiError} for any answer that is no success */
  send(method: string, path: string, options?: { body?: unknown; signal?: AbortSignal }): Promise<Response>
}

/** Talks to the server that the page came from. A bearer may be an API key or a token. */
export function createApi(credential: () => string | null, onUnauthorised: () => void): Api {
  const headers = (): Record<string, string> => {
    const key = credential()
    return key === null ? {} : { Authorization: `Bearer ${key}` }
  }
  return {
    url: (path) => new URL(path, document.baseURI).href,
    headers,
    async send(method, path, { body, signal } = {}) {
      const response = await fetch(new URL(path, document.baseURI), {
        method,
        headers: { ...headers(), ...(body !== undefined && { 'Content-Type': 'application/json' }) },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        ...(signal && { signal }),
        cache: 'no-store',
      }).catch((error: unknown) => {
        signal?.throwIfAborted()
        throw new ApiError(0, error instanceof Error ? error.message : 'The server does not answer.')
      })
      if (response.ok) return response
      if (response.status === 401) onUnauthorised()
      throw new ApiError(
        response.status,
        detailOf(await response.text().catch(() => '')) ?? `The server answered ${response.status}.`,
        retryAfterOf(response.headers.get('Retry-After')),
      )
    },
  }
}

/** The server's words in an error. */
export function detailOf(text: string): string | null {
  try {
    const { detail } = JSON.parse(text) as { detail?: unknown }
    return typeof detail === 'string' ? detail : null
  } catch {
    return null
  }
}

/** RFC 9110 §10.2.3; this server tells seconds. */
export const retryAfterOf = (header: string | null): number | null =>
  header !== null && /^\d+$/.test(header) ? Number(header) * 1000 : null

import { ApiError, detailOf, retryAfterOf, type Api } from './api.ts'

export interface Chunk {
  path: string
  blob: Blob
  signal: AbortSignal
  /** told of the bytes that went out */
  onProgress: (bytes: number) => void
}

/** Sends one chunk. By XMLHttpRequest: fetch does not tell how far a body is. */
export function putChunk(api: Api, { path, blob, signal, onProgress }: Chunk): Promise<void> {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest()
    const abort = () => xhr.abort()
    const settle = (error: unknown) => {
      signal.removeEventListener('abort', abort)
      if (error === null) resolve()
      else reject(error as Error)
    }
    xhr.open('PUT', api.url(path))
    for (const [name, value] of Object.entries(api.headers())) xhr.setRequestHeader(name, value)
    xhr.setRequestHeader('Content-Type', 'application/octet-stream')
    xhr.upload.onprogress = ({ loaded }) => onProgress(loaded)
    xhr.onload = () => {
      if (xhr.status >= 200 && xhr.status < 300) return settle(null)
      const words = detailOf(xhr.responseText) ?? `The server answered ${xhr.status}.`
      settle(new ApiError(xhr.status, words, retryAfterOf(xhr.getResponseHeader('Retry-After'))))
    }
    xhr.onerror = () => settle(new ApiError(0, 'The connection broke.'))
    xhr.onabort = () => settle(signal.reason ?? new DOMException('Aborted', 'AbortError'))
    signal.addEventListener('abort', abort)
    if (signal.aborted) settle(signal.reason)
    else xhr.send(blob)
  })
}

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
    const settle = (error: Error | null) => {
      signal.removeEventListener('abort', abort)
      if (error === null) resolve()
      else reject(error)
    }
    xhr.open('PUT', api.url(path))
    for (const [name, value] of Object.entries(api.headers())) xhr.setRequestHeader(name, value)
    xhr.setRequestHeader('Content-Type', 'application/octet-stream')
    xhr.upload.addEventListener('progress', ({ loaded }) => onProgress(loaded))
    xhr.addEventListener('load', () => {
      if (xhr.status >= 200 && xhr.status < 300) return settle(null)
      const words = detailOf(xhr.responseText) ?? `The server answered ${xhr.status}.`
      settle(new ApiError(xhr.status, words, retryAfterOf(xhr.getResponseHeader('Retry-After'))))
    })
    xhr.addEventListener('error', () => settle(new ApiError(0, 'The connection broke.')))
    xhr.addEventListener('abort', () => settle(signal.reason as Error))
    signal.addEventListener('abort', abort)
    if (signal.aborted) settle(signal.reason as Error)
    else xhr.send(blob)
  })
}

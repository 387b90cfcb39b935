import { ALICE } from './server.ts'

export interface Answer {
  status: number
  headers: Headers
  text: string
  json: any
}

/** A plain HTTP client for tests: what it sends is what the test says. */
export const clientOf =
  (url: string, key: string | null = ALICE) =>
  async (
    method: string,
    path: string,
    { headers = {}, body }: { headers?: Record<string, string>; body?: string | object } = {},
  ): Promise<Answer> => {
    const plain = typeof body === 'object' && Object.getPrototypeOf(body) === Object.prototype
    const response = await fetch(url + path, {
      method,
      headers: {
        ...(key !== null && { 'X-API-Key': key }),
        ...(plain && { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: plain ? JSON.stringify(body) : (body ?? null),
      duplex: 'half',
    } as RequestInit)
    // A stream of events may have no end: its head is all that is waited for.
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream')
    if (isStream) await response.body?.cancel()
    const text = isStream ? '' : await response.text()
    const isJson = response.headers.get('content-type')?.includes('json')
    return {
      status: response.status,
      headers: response.headers,
      text,
      json: isJson && text ? JSON.parse(text) : null,
    }
  }

export type Client = ReturnType<typeof clientOf>

/** @returns the bytes that a download gives */
export async function download(url: string, path: string, key = ALICE): Promise<Buffer> {
  const response = await fetch(url + path, { headers: { 'X-API-Key': key } })
  if (response.status !== 200) throw new Error(`download: ${response.status} ${await response.text()}`)
  return Buffer.from(await response.arrayBuffer())
}

export const TUS = { 'Tus-Resumable': '1.0.0' }

/** The headers of a PATCH at `offset`. */
export const patchAt = (offset: number): Record<string, string> => ({
  ...TUS,
  'Upload-Offset': String(offset),
  'Content-Type': 'application/offset+octet-stream',
})

import { onTestFinished } from 'vitest'
import { ALICE } from './server.ts'

export interface Events {
  status: number
  headers: Headers
  /** The next event, whatever it is; null once the stream is over. */
  next(): Promise<{ event: string; data: any } | null>
  /** The next event of that name for which it holds. @throws when the stream ends before */
  until(event: string, holds?: (data: any) => boolean): Promise<any>
  leave(): void
}

/** Follows a stream of server-sent events, which ends with the running test at the latest. */
export async function follow(url: string, path: string, key = ALICE): Promise<Events> {
  const control = new AbortController()
  onTestFinished(() => control.abort())
  const response = await fetch(url + path, { headers: { 'X-API-Key': key }, signal: control.signal })
  const frames = framesOf(response)
  const next = async () => (await frames.next()).value ?? null
  return {
    status: response.status,
    headers: response.headers,
    next,
    async until(event, holds = () => true) {
      for (let found = await next(); found; found = await next())
        if (found.event === event && holds(found.data)) return found.data
      throw new Error(`the stream ended before ${event}`)
    },
    leave: () => control.abort(),
  }
}

async function* framesOf(response: Response): AsyncGenerator<{ event: string; data: any }, undefined> {
  if (!response.body) return
  const decoder = new TextDecoder()
  let text = ''
  for await (const bytes of response.body) {
    text += decoder.decode(bytes as Uint8Array, { stream: true })
    const frames = text.split('\n\n')
    text = frames.pop() ?? ''
    for (const frame of frames) {
      const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(frame) ?? []
      if (event !== undefined && data !== undefined) yield { event, data: JSON.parse(data) }
    }
  }
}

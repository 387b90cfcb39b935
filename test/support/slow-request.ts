import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { ALICE } from './server.ts'

export interface SlowRequest {
  /** Sends a piece of the body; resolves when the kernel has it. */
  send(bytes: Uint8Array): Promise<void>
  end(): void
  /** Goes away without a word. */
  cut(): void
  /** the answer; rejects when the connection breaks before it */
  answer: Promise<{ status: number; headers: IncomingMessage['headers']; text: string }>
  req: ClientRequest
}

/** A request whose body the test sends when it wants to. Its connection is its own. */
export function slowRequest(
  url: string,
  method: string,
  path: string,
  headers: Record<string, string> = {},
): SlowRequest {
  const request = url.startsWith('https:') ? httpsRequest : httpRequest
  const req = request(url + path, { method, agent: false, headers: { 'X-API-Key': ALICE, ...headers } })
  req.flushHeaders()
  const answer = new Promise<Awaited<SlowRequest['answer']>>((resolve, reject) => {
    req.on('error', reject)
    req.on('response', (res) => {
      let text = ''
      res.setEncoding('utf8')
      res.on('data', (piece) => (text += piece))
      res.on('end', () => resolve({ status: res.statusCode ?? 0, headers: res.headers, text }))
      res.on('error', reject)
    })
  })
  answer.catch(() => {})
  return {
    send: (bytes) => new Promise((resolve) => req.write(bytes, () => resolve())),
    end: () => req.end(),
    cut: () => req.destroy(),
    answer,
    req,
  }
}

/** Tries until it holds, and fails when it doesn't in time. */
export async function eventually(
  check: () => Promise<boolean> | boolean,
  what: string,
  ms = 10_000,
): Promise<void> {
  const until = Date.now() + ms
  while (!(await check())) {
    if (Date.now() > until) throw new Error(`never came true: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

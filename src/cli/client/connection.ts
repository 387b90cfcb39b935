import { Agent, request, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { Agent as TlsAgent, request as tlsRequest } from 'node:https'
import { Failure } from '../failure.ts'

export interface Body {
  /** bytes that it has */
  length: number
  open: () => AsyncIterable<Uint8Array>
  /** told of bytes as they are handed to the connection */
  onBytes?: (count: number) => void
}

export interface Call {
  method: string
  /** behind the URL of the server, or a URL of its own */
  path: string
  headers?: Readonly<Record<string, string>>
  body?: Body
  /** no byte either way for so long: the connection is dead */
  idleMs?: number
  signal?: AbortSignal
  onInformation?: (status: number) => void
}

export type Send = (call: Call) => Promise<IncomingMessage>

export interface Connection {
  url: string
  send: Send
  close(): void
}

interface Place {
  /** of the server, without a slash at its end */
  url: string
  apiKey: string | null
  /** connections at a time */
  sockets: number
  signal: AbortSignal
}

const IDLE_MS = 60_000
/** a body this small is sent along, without asking first */
const ASK_FROM_BYTES = 256 * 1024
/** as curl does: a proxy may never answer the question */
const ASK_PATIENCE_MS = 1_000

/**
 * Requests by node:http, since an upload needs what fetch hides: an answer that comes before the body is
 * sent, 100 Continue, and how far a body has gone.
 */
export function connect({ url, apiKey, sockets, signal }: Place): Connection {
  const options = { keepAlive: true, maxSockets: sockets }
  const agents = { http: new Agent(options), https: new TlsAgent(options) }
  const own = new URL(url).origin

  return {
    url,
    send: (call) => {
      const target = new URL(/^https?:/.test(call.path) ? call.path : url + call.path)
      // A key is for its server alone, not for where that sends us.
      const headers = { ...(target.origin === own && credentials(apiKey)), ...call.headers }
      const open = target.protocol === 'https:' ? tlsRequest : request
      const agent = target.protocol === 'https:' ? agents.https : agents.http
      const within = call.signal ? AbortSignal.any([signal, call.signal]) : signal
      return exchange({ ...call, headers }, (all) =>
        open(target, { method: call.method, headers: all, agent, signal: within }),
      )
    },
    close() {
      agents.http.destroy()
      agents.https.destroy()
    },
  }
}

/** A token has three parts of base64url, and a key is whatever it is. */
const credentials = (key: string | null): Record<string, string> => {
  if (key === null) return {}
  return /^eyJ[\w-]*\.[\w-]+\.[\w-]*$/.test(key) ? { Authorization: `Bearer ${key}` } : { 'X-API-Key': key }
}

function exchange(
  { headers, body, idleMs = IDLE_MS, onInformation }: Call,
  open: (headers: Record<string, string>) => ClientRequest,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asks = body !== undefined && body.length >= ASK_FROM_BYTES
    const req = open({
      ...headers,
      ...(body && { 'Content-Length': String(body.length) }),
      ...(asks && { Expect: '100-continue' }),
    })
    req.setTimeout(idleMs, () =>
      req.destroy(new Error(`nothing moved for ${Math.round(idleMs / 1000)} seconds`)),
    )
    req.once('error', reject)
    req.on('information', ({ statusCode }) => onInformation?.(statusCode))
    req.once('response', (res) => {
      // The rest of a body that is answered already goes nowhere: the connection ends with its answer.
      res.once('end', () => req.writableFinished || req.destroy())
      resolve(res)
    })
    if (!body) {
      req.end()
      return
    }
    const start = once(() => void pump(req, body).catch((error: Error) => req.destroy(error)))
    if (!asks) return start()
    const patience = setTimeout(start, ASK_PATIENCE_MS)
    req.once('continue', start)
    for (const event of ['continue', 'response', 'close'] as const)
      req.once(event, () => clearTimeout(patience))
    req.flushHeaders()
  })
}

function once(work: () => void): () => void {
  let done = false
  return () => {
    if (done) return
    done = true
    work()
  }
}

/** Sends a body no faster than it is taken, and stops when the answer is there. */
async function pump(req: ClientRequest, body: Body): Promise<void> {
  let over = false
  const end = () => {
    over = true
  }
  req.once('response', end).once('close', end)
  let sent = 0
  for await (const bytes of body.open()) {
    if (over) return
    sent += bytes.length
    if (!req.write(bytes)) await taken(req)
    body.onBytes?.(bytes.length)
  }
  if (over) return
  if (sent !== body.length)
    throw new Failure(`The file gave ${sent} bytes where it had ${body.length}: it has changed.`)
  req.end()
}

const taken = (req: ClientRequest): Promise<void> =>
  new Promise((resolve) => {
    const events = ['drain', 'response', 'close'] as const
    const done = () => {
      for (const event of events) req.off(event, done)
      resolve()
    }
    for (const event of events) req.on(event, done)
    if (req.destroyed) done()
  })

export const headerOf = (headers: IncomingHttpHeaders, name: string): string | null => {
  const value = headers[name.toLowerCase()]
  return (Array.isArray(value) ? value[0] : value) ?? null
}

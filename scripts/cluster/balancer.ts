import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Balancer {
  url: string
  /** requests that each backend was given, in the order of the backends */
  served: readonly number[]
  /** requests that were given to another backend because the first one was gone */
  moved(): number
  close(): Promise<void>
}

/** What may be sent again without harm when no answer came (RFC 9110 section 9.2.2). */
const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * A reverse proxy that hands every request to the next of its backends in turn: nothing is sticky, nothing
 * buffered. A backend that does not take the connection is passed over, as is one that dies under a request
 * without a body before it answers; else the client is told 502.
 */
export async function startBalancer(backends: readonly string[]): Promise<Balancer> {
  const targets = backends.map((url) => new URL(url))
  const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity })
  const served = targets.map(() => 0)
  let next = 0
  let moved = 0

  const forward = (req: IncomingMessage, res: ServerResponse, tries: number): void => {
    const index = next++ % targets.length
    const target = targets[index] as URL
    const upstream = http.request({
      agent,
      host: target.hostname,
      port: target.port,
      method: req.method,
      path: req.url,
      headers: req.headers,
      setHost: false,
    })
    let sending = false
    upstream.once('socket', (socket) => {
      const send = () => {
        sending = true
        served[index] = (served[index] ?? 0) + 1
        req.pipe(upstream)
      }
      if (socket.connecting) socket.once('connect', send)
      else send()
    })
    upstream.on('response', (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
      answer.pipe(res)
      answer.on('error', () => res.destroy())
    })
    upstream.on('error', () => {
      req.unpipe(upstream)
      if (res.destroyed) return
      if (res.headersSent) res.destroy()
      else if (tries > 1 && (!sending || REPEATABLE.has(req.method ?? ''))) {
        moved += 1
        forward(req, res, tries - 1)
      } else res.writeHead(502, { Connection: 'close' }).end('no backend answered\n')
    })
    res.once('close', () => {
      if (!res.writableFinished) upstream.destroy()
    })
  }

  const server = http.createServer({ requestTimeout: 0 }, (req, res) => {
    req.on('error', () => res.destroy())
    res.on('error', () => {})
    forward(req, res, targets.length)
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    served,
    moved: () => moved,
    async close() {
      server.closeAllConnections()
      agent.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

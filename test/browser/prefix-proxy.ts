import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface PrefixProxy {
  origin: string
  /** where what lies below the prefix goes, without it */
  to(url: string): void
  close(): Promise<void>
}

/** A reverse proxy that serves a server below a path. */
export async function startPrefixProxy(prefix: string): Promise<PrefixProxy> {
  let target = ''
  const server = createServer((req, res) => {
    if (!req.url?.startsWith(`${prefix}/`)) {
      res.writeHead(404).end()
      return
    }
    const { method, headers } = req
    const path = req.url.slice(prefix.length)
    const upstream = request(target + path, { method, headers }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(res)
    })
    upstream.on('error', () => res.destroy())
    res.on('close', () => upstream.destroy())
    req.pipe(upstream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    to(url) {
      target = url
    },
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

import { createServer, IncomingMessage, ServerResponse, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Express } from 'express'
import type { Config } from '../config/config.ts'
import { mostConnections } from '../http/connections.ts'
import { answerMalformed } from '../http/early.ts'

/** room for one URL of a part */
const CONCAT_URL_BYTES = 160

/** What answers requests, and the app of Express that answers most of them. */
export interface FrontDoor {
  listener: RequestListener
  express: Express
}

/** The HTTP server in front of the app; it does not listen yet. */
export function createHttpServer({ listener, express }: FrontDoor, config: Config): Server {
  const server = createServer(
    {
      // A healthy slow upload may take hours: silence ends a body, not its length.
      requestTimeout: 0,
      headersTimeout: config.headerTimeoutMs,
      connectionsCheckingInterval: Math.min(config.headerTimeoutMs / 4, 5_000),
      keepAliveTimeout: 65_000,
      highWaterMark: 256 * 1024,
      ...classesOf(express),
      // An Upload-Concat header names every part by its URL.
      maxHeaderSize: 16 * 1024 + config.maxConcatParts * CONCAT_URL_BYTES,
    },
    listener,
  )
  const most = mostConnections()
  if (Number.isFinite(most)) server.maxConnections = most
  // Without listeners node would send 100 Continue before we know whether we want the body, and answer
  // other expectations itself.
  server.on('checkContinue', listener).on('checkExpectation', listener)
  server.on('clientError', answerMalformed)
  return server
}

/**
 * What the requests and responses of an app are made as. Express gives each of them its own prototype; an object
 * whose prototype is changed is slow for all who use it, node's HTTP first of all. Here they are made with it,
 * and Express finds nothing to change.
 */
function classesOf(app: Express) {
  class Request extends IncomingMessage {}
  class Response<Of extends IncomingMessage> extends ServerResponse<Of> {}
  Object.setPrototypeOf(Request.prototype, app.request)
  Object.setPrototypeOf(Response.prototype, app.response)
  app.request = Request.prototype as Express['request']
  app.response = Response.prototype as unknown as Express['response']
  return { IncomingMessage: Request, ServerResponse: Response }
}

export const listen = (server: Server, { host, port }: Config) =>
  new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })

export function urlOf(server: Server, host: string): string {
  const { port } = server.address() as AddressInfo
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

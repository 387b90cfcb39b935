import { once } from 'node:events'
import {
  createServer,
  request,
  type ClientRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { onTestFinished } from 'vitest'

/** What is set wrongly in a proxy. */
export interface Misconfiguration {
  /** waits for the whole body before it passes any of it on */
  buffersRequests?: boolean
  /** answers 413 to longer ones, with a page of its own */
  maxBodyBytes?: number
  dropsRequestHeaders?: readonly string[]
  dropsResponseHeaders?: readonly string[]
  /** set on every answer, in the place of what was there */
  setsResponseHeaders?: Readonly<Record<string, string>>
  /** speaks TLS, and does not say so to the server */
  tls?: { key: string; cert: string }
  /** does not pass on whom it was asked for */
  ownHost?: boolean
  /** of bodies on their way up */
  bytesPerSecond?: number
  /** so much of all answers together comes through, and then nothing more, and nobody is told */
  fallsSilentAfterBytes?: number
}

export interface HttpProxy {
  url: string
  /** bytes of bodies that were passed on to the server so far */
  bodyBytes(): number
}

/** A reverse proxy in front of `target`, closed at the end of the running test. */
export async function useHttpProxy(target: string, wrong: Misconfiguration = {}): Promise<HttpProxy> {
  let bodyBytes = 0
  let room = wrong.fallsSilentAfterBytes ?? Infinity
  const serve = (req: IncomingMessage, res: ServerResponse) => {
    void pass(req, res).catch(() => res.destroy())
  }
  const server = wrong.tls ? createTlsServer(wrong.tls, serve) : createServer(serve)
  const pass = async (req: IncomingMessage, res: ServerResponse): Promise<void> => {
    if (Number(req.headers['content-length'] ?? 0) > (wrong.maxBodyBytes ?? Infinity)) {
      res.writeHead(413, { 'Content-Type': 'text/html', Connection: 'close' }).end('<h1>Too large</h1>')
      return
    }
    const body: Buffer[] = []
    if (wrong.buffersRequests) for await (const bytes of req as AsyncIterable<Buffer>) body.push(bytes)
    const headers = without(req.headers, [
      ...(wrong.dropsRequestHeaders ?? []),
      ...(wrong.ownHost ? ['host'] : []),
    ])
    delete headers['expect']
    const up = request(target + req.url, { method: req.method, headers })
    up.flushHeaders()
    res.once('close', () => up.destroy())
    up.once('error', () => res.destroy())
    up.once('response', (answer) => {
      const back = {
        ...without(answer.headers, wrong.dropsResponseHeaders ?? []),
        ...wrong.setsResponseHeaders,
      }
      res.writeHead(answer.statusCode ?? 502, back)
      answer.on('data', (bytes: Buffer) => {
        room -= bytes.length
        if (room < 0) answer.unpipe(res)
      })
      answer.pipe(res)
      answer.once('error', () => res.destroy())
    })
    for await (const bytes of wrong.buffersRequests ? body : (req as AsyncIterable<Buffer>)) {
      bodyBytes += bytes.length
      if (!up.write(bytes)) await taken(up)
      if (wrong.bytesPerSecond !== undefined) await sleep((bytes.length / wrong.bytesPerSecond) * 1000)
    }
    up.end()
  }
  server.listen(0, wrong.tls ? 'localhost' : '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  return {
    url: `${wrong.tls ? 'https://localhost' : 'http://127.0.0.1'}:${(server.address() as AddressInfo).port}`,
    bodyBytes: () => bodyBytes,
  }
}

const taken = (up: ClientRequest): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      up.off('drain', done).off('close', done)
      resolve()
    }
    up.on('drain', done).on('close', done)
    if (up.destroyed) done()
  })

const without = <T extends Record<string, unknown>>(headers: T, names: readonly string[]): T =>
  Object.fromEntries(
    Object.entries(headers).filter(([name]) => !names.some((dropped) => dropped.toLowerCase() === name)),
  ) as T

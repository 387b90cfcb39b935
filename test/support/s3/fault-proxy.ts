import { once } from 'node:events'
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { newHeld, newRules, type AddedRule, type Fault, type Held, type Rule } from './fault-rules.ts'
import { newRequestLog, toRequest, type RequestLog, type S3Request } from './request-log.ts'
import { errorDocument } from './xml.ts'

export interface ProxiedRequest extends S3Request {
  url: string
  /** what the rules did to it */
  fault: Fault | null
  /** whether S3 got to see it, or some of it */
  forwarded: boolean
}

export interface FaultProxy extends RequestLog<ProxiedRequest> {
  /** the endpoint to give to whoever is tested */
  url: string
  rule(rule: Rule): AddedRule
  /** Removes all rules, and releases what is held. */
  clear(): void
  /** Lets go on what is held now; what comes later is held again. */
  release(): void
  /** how many requests are held */
  held(): number
  close(): Promise<void>
}

/**
 * A proxy between a client and an S3 server that does harm where a rule says so. The Host header stays as it
 * came, because the signature covers it.
 * @param target an http: URL of a server that finds the bucket in the path
 */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const { protocol, hostname, port } = new URL(target)
  if (protocol !== 'http:') throw new Error(`only http: can be proxied, not ${target}`)
  const log = newRequestLog<ProxiedRequest>()
  const rules = newRules()
  const held = newHeld()

  const server = createServer({ requestTimeout: 0, keepAliveTimeout: 60_000 }, (req, res) => {
    const url = req.url ?? ''
    const seen = { ...toRequest(req.method ?? '', url, req.headers), url }
    const proxied = { ...seen, fault: rules.faultFor(seen), forwarded: false }
    log.requests.push(proxied)
    // A client or a server that goes away is what this is for.
    for (const stream of [req, res]) stream.on('error', () => {})
    serve({ req, res, proxied, held, hostname, port }).catch(() => req.socket.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    ...log,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    rule: rules.add,
    clear() {
      rules.clear()
      held.release()
    },
    release: held.release,
    held: held.count,
    async close() {
      server.close()
      server.closeAllConnections()
      held.release()
      await once(server, 'close')
    },
  }
}

interface Exchange {
  req: IncomingMessage
  res: ServerResponse
  proxied: ProxiedRequest
  held: Held
  hostname: string
  port: string
}

async function serve(exchange: Exchange): Promise<void> {
  const { req, res, proxied, held } = exchange
  const fault = proxied.fault ?? {}
  // An answer may come before the body is through: the connection to the client outlives the one to S3.
  let body: AsyncIterable<Buffer> = req.iterator({ destroyOnReturn: false })
  if (fault.delayMs !== undefined) await sleep(fault.delayMs)
  if (fault.hold === 'request') {
    // All of it, because a client that leaves is not seen before the last byte was read.
    body = Readable.from(await readAll(body))
    await held.wait(res)
  }
  if (req.socket.destroyed) return
  if (fault.answer) {
    await answer(exchange, fault.answer)
    return
  }
  const answered = fault.resetAfterBytes === 0 ? null : await forward(exchange, fault, body)
  if (answered && fault.loseAnswer) await finished(answered.resume())
  if (answered && fault.hold === 'answer') await held.wait(res)
  if (answered === null || fault.loseAnswer) {
    req.socket.resetAndDestroy()
    return
  }
  proxied.status = answered.statusCode ?? null
  res.writeHead(answered.statusCode ?? 502, answered.rawHeaders)
  if (fault.truncateAfterBytes === undefined) await pipeline(answered, res)
  else await truncate(answered, res, fault.truncateAfterBytes)
}

async function answer(
  { req, res, proxied }: Exchange,
  { status, code, headers }: NonNullable<Fault['answer']>,
) {
  if (!req.readableEnded) await finished(req.resume())
  proxied.status = status
  proxied.code = code
  const body = req.method === 'HEAD' ? '' : errorDocument({ Code: code, Message: 'injected by a rule' })
  res.writeHead(status, { 'content-type': 'application/xml', ...headers }).end(body)
}

/** Sends the request on. @returns the answer; null when the request was broken off on purpose */
async function forward(
  exchange: Exchange,
  fault: Fault,
  body: AsyncIterable<Buffer>,
): Promise<IncomingMessage | null> {
  const { req, res, proxied, hostname, port } = exchange
  // They are for this connection; the next has its own.
  const { connection, expect, ...headers } = req.headers
  const { method, url: path } = req
  const out = request({ hostname, port, method, path, headers, agent: false, setHost: false })
  proxied.forwarded = true
  res.once('close', () => {
    if (!res.writableFinished) out.destroy()
  })
  const answered = once(out, 'response') as Promise<[IncomingMessage]>
  const { resetAfterBytes, bytesPerSecond } = fault
  if (resetAfterBytes !== undefined) {
    answered.catch(() => {})
    for await (const piece of firstBytes(body, resetAfterBytes)) out.write(piece)
    out.destroy()
    return null
  }
  pipeline(bytesPerSecond === undefined ? body : slowly(body, bytesPerSecond), out).catch(() => {})
  const [response] = await answered
  return response
}

async function truncate(answered: IncomingMessage, res: ServerResponse, bytes: number): Promise<void> {
  res.flushHeaders()
  for await (const piece of firstBytes(answered, bytes))
    await new Promise((resolve) => res.write(piece, resolve))
  res.socket?.destroy()
}

async function readAll(source: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const pieces: Buffer[] = []
  for await (const piece of source) pieces.push(piece)
  return pieces
}

async function* firstBytes(source: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer> {
  let left = bytes
  for await (const piece of source) {
    if (left > 0) yield piece.subarray(0, left)
    left -= piece.length
    if (left <= 0) return
  }
}

/** How often a slowed body moves. */
const TICK_MS = 20

async function* slowly(source: AsyncIterable<Buffer>, bytesPerSecond: number): AsyncGenerator<Buffer> {
  const step = Math.max(1, Math.floor((bytesPerSecond * TICK_MS) / 1000))
  for await (const piece of source)
    for (let at = 0; at < piece.length; at += step) {
      const slice = piece.subarray(at, at + step)
      yield slice
      await sleep((slice.length / bytesPerSecond) * 1000)
    }
}

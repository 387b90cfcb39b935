import { subscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Server } from 'node:net'
import { afterEach, expect } from 'vitest'
import { straightRoute } from '../../src/http/straight.ts'
import { judgeAnswer } from './openapi/judge.ts'

/**
 * Every response of a server of the test's process is held against the OpenAPI document, whatever client
 * asked for it; the test in which one does not fit fails. Node tells of responses by itself
 * (https://nodejs.org/api/http.html#built-in-diagnostics-channel), so nothing stands in their way.
 */
const ports = new Set<number>()
const offences: string[] = []

/** Has the responses of the server at `url` looked at from now on. */
export function watchAnswers(url: string): void {
  ports.add(Number(new URL(url).port))
}

/** More of a body than this is no answer of the API, but a file. */
const MOST_BYTES = 1024 * 1024

subscribe('http.server.request.start', (message) => {
  const { request, response, server } = message as Exchange
  if (!ports.has((server.address() as AddressInfo | null)?.port ?? 0)) return
  const pieces: Buffer[] = []
  let bytes = 0
  const keep = (piece: unknown, encoding: unknown) => {
    if (typeof piece !== 'string' && !(piece instanceof Uint8Array)) return
    bytes += piece.length
    if (bytes > MOST_BYTES) pieces.length = 0
    else
      pieces.push(
        typeof piece === 'string'
          ? Buffer.from(piece, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
          : Buffer.from(piece),
      )
  }
  const { write, end } = response
  // A file is not for keeping: tests look at the memory that downloads take.
  const isFile = () => !/^(application\/json|text\/)/.test(String(response.getHeader('content-type') ?? ''))
  response.write = ((piece: unknown, ...rest: unknown[]) => {
    if (!isFile()) keep(piece, rest[0])
    return Reflect.apply(write, response, [piece, ...rest])
  }) as typeof write
  response.end = ((...given: unknown[]) => {
    if (!isFile()) keep(given[0], given[1])
    const result: unknown = Reflect.apply(end, response, given)
    offences.push(
      ...judgeAnswer({
        method: request.method ?? '',
        url: request.url ?? '',
        // Express notes the row that it has found; some go past it.
        route: request.route?.path ?? straightRoute(request)?.pattern ?? null,
        asked: request.headers,
        status: response.statusCode,
        headers: response.getHeaders(),
        body: bytes > MOST_BYTES || isFile() ? null : Buffer.concat(pieces).toString(),
      }),
    )
    return result
  }) as typeof end
})

interface Exchange {
  request: IncomingMessage & { route?: { path: string } }
  response: ServerResponse
  server: Server
}

// A benchmark starts these servers as well, and there is no test to fail then.
if (process.env['VITEST'])
  afterEach(() => {
    expect(offences.splice(0)).toEqual([])
  })

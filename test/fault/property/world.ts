import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { ClientRequest } from 'node:http'
import type { Socket } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { expect } from 'vitest'
import { clientOf, download, patchAt, TUS, type Answer } from '../../support/client.ts'
import { filesIn } from '../../support/folder.ts'
import { spawnServer, type ServerProcess } from '../../support/process.ts'
import { eventually, slowRequest } from '../../support/slow-request.ts'
import { CHUNK, MAX_UPLOAD, otherBytes } from './model.ts'

/** Where the server keeps the bytes. */
export interface Place {
  env: Record<string, string>
  /** what holds bytes of uploads */
  files(): Promise<string[]>
  /** whether a file whose SHA-256 is not the announced one can be mended */
  mends: boolean
}

/** The real process under test, and everything that is done to it. */
export interface World extends Pick<Place, 'files' | 'mends'> {
  /** what was done and answered since the last `forget`, a line each */
  readonly trace: string[]
  /** what the server logged as its own failures, likewise */
  readonly errors: string[]
  forget(): void
  call(
    method: string,
    path: string,
    request?: { headers?: Record<string, string>; body?: string | object },
  ): Promise<Answer>
  /** @returns the bytes that a download gives */
  download(path: string): Promise<Buffer>
  send(request: BodyRequest): Promise<Told>
  /** Sends some of the body and goes away, or kills the server. @returns the id of the request */
  breakOff(request: BodyRequest, how: Break): Promise<string>
  /** kill -9, and a new process on the same folder */
  restart(): Promise<void>
  /** Resolves when the server is done with a request that was broken off. */
  isOver(requestId: string): Promise<void>
  stop(): void
}

export interface BodyRequest {
  method: 'POST' | 'PATCH' | 'PUT'
  path: string
  headers: Record<string, string>
  bytes: Buffer
  /** without Content-Length */
  chunked: boolean
  /** sent behind the body, which is chunked then */
  trailers?: Record<string, string>
}

export interface Break {
  /** bytes of the body that are sent */
  after: number
  /** how long the server has for them */
  dwellMs: number
  kill: boolean
}

export interface Told {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  /** Upload-Offset */
  offset: number | null
}

export async function createWorld(root: string, main: string, place: Place = diskIn(root)): Promise<World> {
  const trace: string[] = []
  const errors: string[] = []
  const over = new Set<string>()
  /** requests that were broken off, by the process that they were sent to */
  const sentTo = new Map<string, ServerProcess>()
  let server: ServerProcess

  const start = async () => {
    const started = await spawnServer(
      root,
      {
        CHUNK_SIZE_BYTES: String(CHUNK),
        MAX_UPLOAD_BYTES: String(MAX_UPLOAD),
        LOG_LEVEL: 'info',
        ...place.env,
      },
      main,
    )
    createInterface({ input: started.child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const requestId = /"request_id":"([^"]+)"/.exec(line)?.[1]
      if (requestId !== undefined) over.add(requestId)
      if (/"level":[56]0/.test(line)) errors.push(line)
    })
    return started
  }
  server = await start()

  const world: World = {
    trace,
    errors,
    forget() {
      trace.splice(0)
      errors.splice(0)
    },
    call: (method, where, request) => clientOf(server.url)(method, where, request),

    download: (where) => download(server.url, where),

    async send({ method, path: where, headers, bytes, chunked, trailers }) {
      const length = chunked ? {} : { 'Content-Length': String(bytes.length) }
      const request = slowRequest(server.url, method, where, { ...headers, ...length })
      if (bytes.length > 0) void request.send(bytes)
      if (trailers) request.req.addTrailers(trailers)
      request.end()
      const { status, headers: told, text } = await request.answer
      const offset = told['upload-offset']
      return { status, headers: told, text, offset: offset === undefined ? null : Number(offset) }
    },

    async breakOff({ method, path: where, headers, bytes, chunked }, { after, dwellMs, kill }) {
      const requestId = randomUUID()
      sentTo.set(requestId, server)
      const length = chunked ? {} : { 'Content-Length': String(bytes.length) }
      const request = slowRequest(server.url, method, where, {
        ...headers,
        ...length,
        'X-Request-ID': requestId,
      })
      await connected(request.req)
      if (after > 0) await request.send(bytes.subarray(0, after)).catch(() => {})
      if (after === bytes.length && !chunked) request.end()
      await new Promise((resolve) => setTimeout(resolve, dwellMs))
      if (kill) await world.restart()
      request.cut()
      return requestId
    },

    async restart() {
      trace.push('  kill -9')
      await server.signal('SIGKILL')
      server = await start()
    },

    async isOver(requestId) {
      if (sentTo.get(requestId) !== server) return
      await eventually(() => over.has(requestId), 'the request is logged')
      await eventually(
        async () => /^inflight_chunks 0$/m.test((await world.call('GET', '/metrics')).text),
        'no body is open',
      )
    },

    files: place.files,
    mends: place.mends,

    stop: () => void server.child.kill('SIGKILL'),
  }
  return world
}

const diskIn = (root: string): Place => ({
  env: {},
  files: () => filesIn(path.join(root, 'files')),
  mends: true,
})

/** Resolves when the head of a request is on its way: a connection that is cut then still brings it. */
async function connected(req: ClientRequest): Promise<void> {
  const [socket] = req.socket ? [req.socket] : ((await once(req, 'socket')) as [Socket])
  if (socket.connecting) await once(socket, 'connect')
  await new Promise((resolve) => setImmediate(resolve))
}

export type ChecksumKind = 'none' | 'right' | 'wrong' | 'right trailer' | 'wrong trailer'

const ALGORITHMS = ['sha1', 'sha256', 'sha512', 'md5'] as const

/** The headers, and where it comes behind the body the trailers, that announce a checksum over `bytes`. */
export function checksumOf(
  bytes: Buffer,
  kind: ChecksumKind,
): { headers: Record<string, string>; trailers?: Record<string, string> } {
  if (kind === 'none') return { headers: {} }
  const algorithm = ALGORITHMS[bytes.length % ALGORITHMS.length] ?? 'sha1'
  const hashed = kind.startsWith('right') ? bytes : bytes.length > 0 ? otherBytes(bytes) : Buffer.from('x')
  const told = `${algorithm} ${createHash(algorithm).update(hashed).digest('base64')}`
  return kind.endsWith('trailer')
    ? { headers: { Trailer: 'Upload-Checksum' }, trailers: { 'Upload-Checksum': told } }
    : { headers: { 'Upload-Checksum': told } }
}

export interface Patch {
  id: string
  offset: number
  bytes: Buffer
  chunked: boolean
  checksum: ChecksumKind
  /** the Upload-Length that it declares */
  declares: number | null
}

export function patchRequest({ id, offset, bytes, chunked, checksum, declares }: Patch): BodyRequest {
  const { headers, trailers } = checksumOf(bytes, checksum)
  return {
    method: 'PATCH',
    path: `/files/${id}`,
    headers: {
      ...patchAt(offset),
      ...headers,
      ...(declares !== null && { 'Upload-Length': String(declares) }),
    },
    bytes,
    chunked: chunked || trailers !== undefined,
    ...(trailers && { trailers }),
  }
}

/** HEAD, once the upload is not being completed any more. */
export async function headOf(world: World, id: string): Promise<Answer> {
  let answer = await world.call('HEAD', `/files/${id}`, { headers: TUS })
  await eventually(async () => {
    if (answer.status !== 423) return true
    answer = await world.call('HEAD', `/files/${id}`, { headers: TUS })
    return false
  }, 'the upload is completed')
  return answer
}

/** Notes what was answered, and fails when that is not one of the statuses that the model allows. */
export function expectStatus(
  world: World,
  what: string,
  told: { status: number; text?: string },
  allowed: readonly number[],
): void {
  world.trace.push(
    `  ${what} → ${told.status}${told.status >= 400 ? ` ${(told.text ?? '').trim().slice(0, 160)}` : ''}`,
  )
  expect(allowed, `${what} answered ${told.status}: ${(told.text ?? '').trim()}`).toContain(told.status)
}

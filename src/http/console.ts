import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import type { OutgoingHttpHeaders } from 'node:http'
import path from 'node:path'
import { HttpError } from '../core/errors.ts'
import type { Exchange, Handler } from './exchange.ts'

/** What the web console consists of, by name; empty where it was not built. */
export type ConsoleFiles = ReadonlyMap<string, ConsoleFile>

interface ConsoleFile {
  etag: string
  type: string
  /** the bytes in each coding that the build made, those that save most first; 'identity' is always there */
  codings: ReadonlyMap<Coding, Buffer>
}

const CODINGS = ['br', 'gzip', 'identity'] as const
type Coding = (typeof CODINGS)[number]

const SUFFIXES: Readonly<Record<Coding, string>> = { br: '.br', gzip: '.gz', identity: '' }
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}
const PAGE = 'index.html'

/**
 * Scripts and styles come from here alone, and nothing inline. Uppy shows pictures that it makes itself
 * (blob:, data:). The page may be in nobody's frame, for its buttons delete files.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "connect-src 'self'",
  "form-action 'none'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

const HEADERS: OutgoingHttpHeaders = {
  'Content-Security-Policy': POLICY,
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Permissions-Policy': 'camera=(), microphone=(), geolocation=()',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
}

/** Reads what the build left in a folder. It is small, and stays in memory. */
export async function readConsole(folder: string): Promise<ConsoleFiles> {
  const files = new Map<string, ConsoleFile>()
  const names = await readdir(folder).catch((): string[] => [])
  for (const name of names) {
    const type = TYPES[path.extname(name)]
    if (type === undefined) continue
    const codings = new Map<Coding, Buffer>()
    for (const coding of CODINGS)
      if (names.includes(name + SUFFIXES[coding]))
        codings.set(coding, await readFile(path.join(folder, name + SUFFIXES[coding])))
    const plain = codings.get('identity') ?? Buffer.alloc(0)
    const etag = createHash('sha256').update(plain).digest('base64url').slice(0, 22)
    files.set(name, { etag, type, codings })
  }
  return files
}

/** The page itself: asked for each time, and answered with its bytes only where they are others. */
export const servePage =
  (files: ConsoleFiles): Handler =>
  (exchange) =>
    send(exchange, files.get(PAGE), 'no-cache')

/** What the page loads: its names change with the bytes. */
export const serveAsset =
  (files: ConsoleFiles): Handler =>
  (exchange) => {
    const name = String(exchange.req.params['file'])
    send(exchange, name === PAGE ? undefined : files.get(name), 'public, max-age=31536000, immutable')
  }

function send({ req, res }: Exchange, file: ConsoleFile | undefined, cacheControl: string): void {
  if (!file) throw new HttpError('not_found')
  const accepted = acceptedCodings(req.headers['accept-encoding']?.toString() ?? '')
  const [coding = 'identity', bytes = Buffer.alloc(0)] =
    [...file.codings].find(([name]) => name === 'identity' || accepted.has(name)) ?? []
  // Each coding is a representation of its own (RFC 9110 §8.8.3.3).
  const etag = coding === 'identity' ? `"${file.etag}"` : `"${file.etag}-${coding}"`
  res.setHeader('Cache-Control', cacheControl)
  res.setHeader('ETag', etag)
  res.appendHeader('Vary', 'Accept-Encoding')
  for (const [name, value] of Object.entries(HEADERS)) res.setHeader(name, value ?? '')
  if (isAmong(etag, req.headers['if-none-match'])) {
    res.writeHead(304).end()
    return
  }
  res.setHeader('Content-Type', file.type)
  if (coding !== 'identity') res.setHeader('Content-Encoding', coding)
  res.setHeader('Content-Length', bytes.length)
  res.writeHead(200).end(req.method === 'HEAD' ? undefined : bytes)
}

/** RFC 9110 §12.5.3: what is named, unless its weight is 0. */
const acceptedCodings = (header: string): Set<string> =>
  new Set(
    header
      .split(',')
      .map((item) => item.trim().toLowerCase())
      .filter((item) => !/;\s*q=0(\.0*)?$/.test(item))
      .map((item) => item.split(';', 1).join().trim()),
  )

/** RFC 9110 §13.1.2 compares weakly. */
const isAmong = (etag: string, header = ''): boolean =>
  header
    .split(',')
    .map((item) => item.trim().replace(/^W\//, ''))
    .some((item) => item === etag || item === '*')

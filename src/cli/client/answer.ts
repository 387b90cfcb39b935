import type { IncomingMessage } from 'node:http'
import { EXIT, Failure } from '../failure.ts'
import { plain } from '../terminal/words.ts'
import { headerOf } from './connection.ts'

/** More than this no answer of ours has that is not a file. */
const MOST_TEXT_BYTES = 64 * 1024 * 1024
const LATER = new Set([408, 423, 425, 429, 500, 502, 503, 504])

/** The body of an answer, to its end, so that the connection can be used again. */
export async function textOf(res: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = []
  let size = 0
  for await (const piece of res as AsyncIterable<Buffer>) {
    size += piece.length
    if (size > MOST_TEXT_BYTES) throw new Failure('The answer is too long to be one of this server.')
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString()
}

/** @throws {Failure} for anything but 2xx, in the server's own words */
export async function successOf(res: IncomingMessage): Promise<string> {
  const text = await textOf(res)
  const { statusCode: status = 0 } = res
  if (status >= 200 && status < 300) return text
  throw failureOf(res, text)
}

export async function jsonOf<T>(res: IncomingMessage): Promise<T> {
  const text = await successOf(res)
  try {
    return JSON.parse(text) as T
  } catch (cause) {
    throw new Failure('The answer is no JSON: is there an upload server behind this URL?', { cause })
  }
}

/** What an answer that is no success says to a person, and whether to ask again. */
export function failureOf(res: IncomingMessage, text: string): Failure {
  const { statusCode: status = 0, headers } = res
  const id = headerOf(headers, 'x-request-id')
  const about = id === null ? `${status}` : `${status}, request ${id}`
  return new Failure(`${wordsOf(text, status)} (${about})`, {
    status,
    exitCode: status === 401 || status === 403 ? EXIT.refused : EXIT.failed,
    retry: LATER.has(status),
    retryAfterMs: retryAfterOf(headerOf(headers, 'retry-after'), Date.now()),
  })
}

function wordsOf(text: string, status: number): string {
  const told = detailOf(text)
  const ours = told !== null
  if (status === 413 && !ours)
    return 'A proxy in front of the server takes no body of this size; try a smaller --chunk-size'
  // What it says may be told by whoever is between us.
  return told === null ? (WORDS[status] ?? 'The server answered') : plain(told)
}

/** Where an answer has none of its own, as that to a HEAD. */
const WORDS: Readonly<Record<number, string>> = {
  401: 'The server does not take the key: set UPLOAD_API_KEY',
  403: "The upload is somebody else's",
  404: 'There is no such upload',
  410: 'The upload has expired',
  423: 'The upload is busy',
  502: 'A proxy does not reach the server',
  504: 'The server did not answer its proxy in time',
}

/** The detail of a JSON error, or the plain text of a tus one; a page of HTML is a proxy's. */
function detailOf(text: string): string | null {
  if (text.startsWith('{')) {
    try {
      const { detail } = JSON.parse(text) as { detail?: unknown }
      return typeof detail === 'string' ? detail : null
    } catch {
      return null
    }
  }
  const line = text.trim()
  return line === '' || line.startsWith('<') || line.length > 300 ? null : line
}

/** Seconds or a date (RFC 9110 section 10.2.3). */
export function retryAfterOf(value: string | null, nowMs: number): number | null {
  if (value === null) return null
  if (/^\d+$/.test(value)) return Number(value) * 1000
  const at = Date.parse(value)
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs)
}

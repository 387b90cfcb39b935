import type { IncomingMessage } from 'node:http'
import { failureOf, textOf } from '../client/answer.ts'
import { headerOf, type Send } from '../client/connection.ts'
import { Failure } from '../failure.ts'

/** A part of a file, and what it is a part of. */
export interface RangeAnswer {
  bytes: AsyncIterable<Buffer>
  /** where its bytes begin: 0 where the server sends the whole */
  start: number
  etag: string | null
  /** of the whole file */
  size: number | null
}

const MOST_REDIRECTS = 3

/**
 * Asks for bytes from `start` up to `end`, not included. The server sends the whole file from its start
 * where it is not the version of `etag` any more (RFC 9110 section 13.1.5).
 */
export async function getRange(
  send: Send,
  path: string,
  { start, end, etag }: { start: number; end: number; etag: string | null },
): Promise<RangeAnswer> {
  const headers = {
    // Or a proxy might compress what is asked for by position.
    'Accept-Encoding': 'identity',
    Range: `bytes=${start}-${end - 1}`,
    ...(etag !== null && { 'If-Range': etag }),
  }
  const res = await follow(send, path, headers)
  const etagNow = headerOf(res.headers, 'etag')
  if (res.statusCode === 200)
    return { bytes: res, start: 0, etag: etagNow, size: numberOf(headerOf(res.headers, 'content-length')) }
  if (res.statusCode !== 206) throw failureOf(res, await textOf(res))
  const [, from = '', size = ''] =
    /^bytes (\d+)-\d+\/(\d+)$/.exec(headerOf(res.headers, 'content-range') ?? '') ?? []
  if (Number(from) !== start || from === '') {
    res.destroy()
    throw new Failure('The server sent another range than it was asked for.')
  }
  return { bytes: res, start, etag: etagNow, size: numberOf(size) }
}

/** To the storage itself, where the server sends its clients there. */
async function follow(send: Send, path: string, headers: Record<string, string>): Promise<IncomingMessage> {
  let target = path
  for (let left = MOST_REDIRECTS; ; left -= 1) {
    const res = await send({ method: 'GET', path: target, headers })
    const location = headerOf(res.headers, 'location')
    const redirected = [302, 303, 307, 308].includes(res.statusCode ?? 0)
    if (!redirected || location === null || left === 0) return res
    await textOf(res)
    if (!/^https?:/.test(location)) return res
    target = location
  }
}

const numberOf = (text: string | null): number | null =>
  text !== null && /^\d+$/.test(text) ? Number(text) : null

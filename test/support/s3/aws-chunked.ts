import { S3Error } from './error.ts'

/** A line of the framing is a chunk's size or a trailer: neither is long. */
const MAX_LINE_BYTES = 8192

/**
 * The payload of a body in aws-chunked framing: chunks of `size-in-hex CRLF bytes CRLF`, an empty one, and
 * then trailers, which are put into `trailers`.
 * @see https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
 */
export async function* decodeAwsChunked(
  body: AsyncIterable<Buffer>,
  trailers: Map<string, string>,
): AsyncGenerator<Buffer> {
  const reader = newReader(body)
  try {
    yield* chunks(reader)
    await readTrailers(reader, trailers)
  } finally {
    await reader.end()
  }
}

async function* chunks(reader: Reader): AsyncGenerator<Buffer> {
  for (;;) {
    const line = await reader.line()
    if (!/^[0-9a-f]+$/i.test(line)) throw new S3Error('InvalidRequest', 'a chunk without a size')
    const size = Number.parseInt(line, 16)
    if (size === 0) return
    yield* reader.take(size)
    if ((await reader.line()) !== '') throw new S3Error('InvalidRequest', 'a chunk of another size')
  }
}

async function readTrailers(reader: Reader, trailers: Map<string, string>): Promise<void> {
  for (let line = await reader.line(); line !== ''; line = await reader.line()) {
    const colon = line.indexOf(':')
    if (colon < 0) throw new S3Error('InvalidRequest', 'a trailer without a value')
    trailers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim())
  }
  if (await reader.more()) throw new S3Error('InvalidRequest', 'bytes behind the trailers')
}

type Reader = ReturnType<typeof newReader>

function newReader(body: AsyncIterable<Buffer>) {
  const source = body[Symbol.asyncIterator]()
  let held: Buffer = Buffer.alloc(0)

  /** @returns false at the end of the body */
  async function pull(): Promise<boolean> {
    const { done, value } = await source.next()
    if (done) return false
    held = held.length === 0 ? value : Buffer.concat([held, value])
    return true
  }

  return {
    /** The next line, without its end. */
    async line(): Promise<string> {
      for (;;) {
        const end = held.indexOf('\r\n')
        if (end >= 0) {
          const text = held.toString('latin1', 0, end)
          held = held.subarray(end + 2)
          return text
        }
        if (held.length > MAX_LINE_BYTES || !(await pull())) throw new S3Error('IncompleteBody')
      }
    },

    async *take(size: number): AsyncGenerator<Buffer> {
      for (let left = size; left > 0;) {
        if (held.length === 0 && !(await pull())) throw new S3Error('IncompleteBody')
        const piece = held.subarray(0, left)
        held = held.subarray(piece.length)
        left -= piece.length
        if (piece.length > 0) yield piece
      }
    },

    more: async () => held.length > 0 || pull(),

    /** Lets go of the body. */
    async end(): Promise<void> {
      await source.return?.()
    },
  }
}

import { createHash } from 'node:crypto'
import type { Client } from './client.ts'
import type { Options } from './options.ts'
import { inParallel } from './parallel.ts'
import type { Payload } from './payload.ts'
import type { Tally } from './tally.ts'

interface Upload {
  options: Pick<Options, 'baseUrl' | 'fileSizeBytes' | 'chunkSizeBytes' | 'chunkWorkers' | 'chunkSha256'>
  client: Client
  payload: Payload
  tally: Tally
  /** path of the base URL, in front of the routes */
  prefix: string
}

/** Uploads file number `file` and resolves with its upload id. */
export type Dialect = (file: number) => Promise<string>

/** init, the chunks in parallel, complete. */
export const native =
  ({ options, client, payload, tally, prefix }: Upload): Dialect =>
  async (file) => {
    const created = await client.persist(() =>
      client.send({
        method: 'POST',
        path: `${prefix}/v1/uploads/init`,
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({
          file_name: `load-test-${file}.bin`,
          file_size: options.fileSizeBytes,
          chunk_size: options.chunkSizeBytes,
        }),
      }),
    )
    const { upload_id: id, chunk_size: chunkSize } = JSON.parse(created.body.toString()) as Record<
      string,
      unknown
    >
    if (typeof id !== 'string') throw new Error('init answered without an upload_id')
    if (chunkSize !== options.chunkSizeBytes)
      throw new Error(
        `asked for chunks of ${options.chunkSizeBytes} bytes and was given ${String(chunkSize)}`,
      )

    const chunks = Math.ceil(options.fileSizeBytes / options.chunkSizeBytes)
    await inParallel(chunks, options.chunkWorkers, async (index) => {
      const body = payload.rest(file, index * options.chunkSizeBytes)
      const headers: Record<string, string> = { 'Content-Type': 'application/octet-stream' }
      if (options.chunkSha256) headers['X-Chunk-SHA256'] = createHash('sha256').update(body).digest('hex')
      await client.persist(() =>
        timed(tally, () =>
          client.send({ method: 'PUT', path: `${prefix}/v1/uploads/${id}/chunks/${index}`, headers, body }),
        ),
      )
      tally.bytes += body.length
      tally.chunks++
    })

    await client.persist(() => client.send({ method: 'POST', path: `${prefix}/v1/uploads/${id}/complete` }))
    return id
  }

const TUS = { 'Tus-Resumable': '1.0.0' }

/** POST, then PATCHes in turn; after a failure HEAD tells where to go on. */
export const tus =
  ({ options, client, payload, tally, prefix }: Upload): Dialect =>
  async (file) => {
    const name = Buffer.from(`load-test-${file}.bin`).toString('base64')
    const size = options.fileSizeBytes
    const created = await client.persist(() =>
      client.send({
        method: 'POST',
        path: `${prefix}/files`,
        headers: {
          ...TUS,
          'Upload-Length': size,
          'Upload-Metadata': `filename ${name}`,
          'Content-Length': 0,
        },
      }),
    )
    if (created.headers.location === undefined) throw new Error('POST answered without a Location')
    // Only its path: the load is meant for the server of --base-url, also where it knows a public name.
    const { pathname: path } = new URL(created.headers.location, options.baseUrl)

    const moveTo = (from: number, text: string | string[] | undefined): number => {
      const offset = Number(text)
      if (!Number.isSafeInteger(offset) || offset < from || offset > size)
        throw new Error(`Upload-Offset: ${String(text)} after ${from}`)
      tally.bytes += offset - from
      return offset
    }

    let offset = 0
    while (offset < size) {
      const answer = await client.persist(
        async (afterFailure) => {
          if (afterFailure) {
            const head = await client.send({ method: 'HEAD', path, headers: TUS })
            if (head.status >= 300) return head
            offset = moveTo(offset, head.headers['upload-offset'])
            // The bytes were all there and only the answer was lost.
            if (offset === size) return head
          }
          const headers = {
            ...TUS,
            'Upload-Offset': offset,
            'Content-Type': 'application/offset+octet-stream',
          }
          const body = payload.rest(file, offset)
          return timed(tally, () => client.send({ method: 'PATCH', path, headers, body }))
        },
        // an offset that moved under a lost answer: HEAD tells the new one
        [409],
      )
      offset = moveTo(offset, answer.headers['upload-offset'])
      tally.chunks++
    }
    return path.split('/').at(-1) ?? ''
  }

/** Takes the time of a request that succeeds. */
async function timed<T extends { status: number }>(tally: Tally, send: () => Promise<T>): Promise<T> {
  const start = performance.now()
  const answer = await send()
  if (answer.status < 300) tally.chunkLatenciesMs.push(performance.now() - start)
  return answer
}

import type { Answer, Client } from '../load-test/client.ts'
import type { Dialect } from '../load-test/dialects.ts'
import type { Payload } from '../load-test/payload.ts'
import type { Tally } from '../load-test/tally.ts'

interface Crossing {
  client: Client
  payload: Payload
  tally: Tally
  fileSizeBytes: number
  chunkSizeBytes: number
}

const TUS = { 'Tus-Resumable': '1.0.0' }

/**
 * Begun by tus with half a chunk, and finished by what `missing-chunks` names. The server must cut the upload
 * at `chunkSizeBytes`, too.
 */
export const crossing =
  ({ client, payload, tally, fileSizeBytes, chunkSizeBytes }: Crossing): Dialect =>
  async (file) => {
    const created = await client.persist(() =>
      client.send({
        method: 'POST',
        path: '/files',
        headers: { ...TUS, 'Upload-Length': fileSizeBytes, 'Content-Length': 0 },
      }),
    )
    const id = String(created.headers.location).split('/').at(-1) ?? ''
    const first = payload.rest(file, 0)
    const begin = async (afterFailure: boolean) => {
      const head = await client.send({ method: 'HEAD', path: `/files/${id}`, headers: TUS })
      // Its bytes counted, though the answer was lost.
      if (head.status !== 200 || (afterFailure && head.headers['upload-offset'] !== '0')) return head
      return client.send({
        method: 'PATCH',
        path: `/files/${id}`,
        headers: { ...TUS, 'Upload-Offset': 0, 'Content-Type': 'application/offset+octet-stream' },
        body: first.subarray(0, Math.ceil(first.length / 2)),
      })
    }
    // Refused where they came to count only after the HEAD.
    await client.persist(begin, [409])

    const look = () => client.send({ method: 'GET', path: `/v1/uploads/${id}/missing-chunks` })
    for (;;) {
      const { missing_chunk_indexes: missing, status } = parsed(await client.persist(look))
      if (status === 'COMPLETED') return id
      if (missing.length === 0) throw new Error(`${id} has all its chunks and is ${status}`)
      for (const index of missing) {
        const body = payload.rest(file, index * chunkSizeBytes)
        await client.persist(async (afterFailure) => {
          if (afterFailure) {
            const told = await look()
            // The last chunk completed the upload, which takes no more then, and the answer was lost.
            if (told.status !== 200 || parsed(told).status === 'COMPLETED') return told
          }
          return client.send({ method: 'PUT', path: `/v1/uploads/${id}/chunks/${index}`, body })
        })
        tally.chunks += 1
        tally.bytes += body.length
      }
    }
  }

const parsed = ({ body }: Answer) =>
  JSON.parse(body.toString()) as { missing_chunk_indexes: number[]; status: string }

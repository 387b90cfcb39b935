import { expect } from 'vitest'
import { sha256 } from '../../support/bytes.ts'
import { clientOf, type Client } from '../../support/client.ts'
import { missingChunks } from '../../support/uploading.ts'
import { CHUNK, checkEnded, newBytes, untilGone, type Chance, type RoundClient, type Sent } from './client.ts'

interface NativeSent extends Sent {
  /** chunks that the server told are stored */
  told: Set<number>
}

/** Chunks at a time. */
const WORKERS = 3

/** Creates, sends chunks in any order, several at a time, completes, some with a checksum of the file. */
export function nativeClient(chance: Chance): RoundClient {
  const sent: NativeSent[] = []

  const create = async (call: Client): Promise<NativeSent> => {
    const bytes = newBytes(chance)
    const checksum = chance.once(2) ? { file_checksum_sha256: sha256(bytes) } : {}
    const { status, json } = await call('POST', '/v1/uploads/init', {
      body: { file_name: 'a', file_size: bytes.length, chunk_size: CHUNK, ...checksum },
    })
    expect(status).toBe(201)
    const upload: NativeSent = { id: json.upload_id, bytes, told: new Set(), state: 'open' }
    sent.push(upload)
    return upload
  }

  const missing = async (call: Client, { id, told }: NativeSent): Promise<number[]> => {
    const indexes = await missingChunks(call, id)
    expect([id, indexes.filter((index) => told.has(index))]).toEqual([id, []])
    return indexes
  }

  /** Sends what is missing, and completes. */
  const bringToEnd = async (call: Client, upload: NativeSent) => {
    const { id, bytes, told } = upload
    const indexes = await missing(call, upload)
    const worker = async () => {
      while (indexes.length > 0) {
        const [index = 0] = indexes.splice(chance.between(0, indexes.length - 1), 1)
        const body = bytes.subarray(index * CHUNK, (index + 1) * CHUNK)
        const digest = chance.once(4) ? { 'X-Chunk-SHA256': sha256(body) } : {}
        const { status } = await call('PUT', `/v1/uploads/${id}/chunks/${index}`, { body, headers: digest })
        expect([id, index, status]).toEqual([id, index, 202])
        told.add(index)
      }
    }
    const workers = await Promise.allSettled(Array.from({ length: WORKERS }, worker))
    for (const ended of workers) if (ended.status === 'rejected') throw ended.reason
    const { status } = await call('POST', `/v1/uploads/${id}/complete`)
    expect([id, status]).toEqual([id, 200])
    upload.state = 'complete'
  }

  return {
    sent,
    async work(url) {
      const call = clientOf(url)
      await untilGone(async () => {
        await bringToEnd(call, sent.find(({ state }) => state === 'open') ?? (await create(call)))
      })
    },
    async check(call) {
      for (const upload of sent) if (upload.state === 'open') await missing(call, upload)
      await checkEnded(call, sent, null)
    },
    async finish(url) {
      const call = clientOf(url)
      for (const upload of sent) if (upload.state === 'open') await bringToEnd(call, upload)
      await checkEnded(call, sent, url)
    },
  }
}

import { jsonOf, successOf } from './answer.ts'
import type { Body, Send } from './connection.ts'

/** An upload as the server shows it. */
export interface Shown {
  upload_id: string
  file_name: string
  file_size: number | null
  chunk_size: number
  total_chunks: number | null
  uploaded_chunks: number
  offset: number
  status: string
  content_type: string | null
  file_checksum_sha256: string | null
  created_at: string
  updated_at: string
  expires_at: string | null
}

export interface Init {
  file_name: string
  file_size: number
  chunk_size?: number
  file_checksum_sha256?: string
  content_type?: string
}

/** The whole file may be read and checked before it answers. */
const COMPLETE_IDLE_MS = 30 * 60_000

const at = (id: string): string => `/v1/uploads/${encodeURIComponent(id)}`
const JSON_BODY = { 'Content-Type': 'application/json' }

const bodyOf = (value: unknown): Body => {
  const bytes = Buffer.from(JSON.stringify(value))
  return {
    length: bytes.length,
    open: async function* () {
      yield bytes
    },
  }
}

export interface NativeApi {
  /** @param once a key that makes a repeated call the same call */
  init(file: Init, once: string): Promise<{ upload_id: string; chunk_size: number }>
  show(id: string): Promise<Shown>
  missing(id: string): Promise<number[]>
  putChunk(id: string, index: number, body: Body): Promise<void>
  complete(id: string): Promise<void>
  remove(id: string): Promise<void>
  list(query: Readonly<Record<string, string>>): Promise<{ uploads: Shown[]; next_cursor: string | null }>
}

export const nativeApi = (send: Send): NativeApi => ({
  async init(file, once) {
    const headers = { ...JSON_BODY, 'Idempotency-Key': once }
    return jsonOf(await send({ method: 'POST', path: '/v1/uploads/init', headers, body: bodyOf(file) }))
  },
  show: async (id) => jsonOf(await send({ method: 'GET', path: at(id) })),
  async missing(id) {
    const { missing_chunk_indexes: indexes } = await jsonOf<{ missing_chunk_indexes: number[] }>(
      await send({ method: 'GET', path: `${at(id)}/missing-chunks` }),
    )
    return indexes
  },
  async putChunk(id, index, body) {
    await successOf(await send({ method: 'PUT', path: `${at(id)}/chunks/${index}`, body }))
  },
  async complete(id) {
    await successOf(await send({ method: 'POST', path: `${at(id)}/complete`, idleMs: COMPLETE_IDLE_MS }))
  },
  async remove(id) {
    await successOf(await send({ method: 'DELETE', path: at(id) }))
  },
  async list(query) {
    return jsonOf(await send({ method: 'GET', path: `/v1/uploads?${new URLSearchParams(query).toString()}` }))
  },
})

import { bytesOf, MIB } from './bytes.ts'
import type { Client } from './client.ts'
import { slowRequest, type SlowRequest } from './slow-request.ts'

/** The bytes of every chunk here. */
export const CHUNK = 4 * MIB
const BEGINNING = 1000

/** @returns the id of a new upload of chunks */
export const initiate = async (call: Client, chunks = 8): Promise<string> =>
  (
    await call('POST', '/v1/uploads/init', {
      body: { file_name: 'a', file_size: chunks * CHUNK, chunk_size: CHUNK },
    })
  ).json.upload_id

/** A chunk whose body has begun and stays open. */
export async function openChunk(url: string, id: string, index: number): Promise<SlowRequest> {
  const put = slowRequest(url, 'PUT', `/v1/uploads/${id}/chunks/${index}`, {
    'Content-Length': String(CHUNK),
  })
  await put.send(bytesOf(BEGINNING))
  return put
}

/** Sends the rest of an open chunk. */
export async function finishChunk(put: SlowRequest): Promise<SlowRequest> {
  await put.send(bytesOf(CHUNK).subarray(BEGINNING))
  put.end()
  return put
}

import { expect } from 'vitest'
import { TUS, type Client } from './client.ts'

/** @returns the id of a new upload that tus created */
export async function createByTus(call: Client, size: number): Promise<string> {
  const { status, headers, text } = await call('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': String(size) },
  })
  expect([status, text]).toEqual([201, ''])
  return headers.get('location')?.split('/').at(-1) ?? ''
}

/** @returns the id of a new upload that `init` created */
export async function createNatively(call: Client, size: number, chunkSize: number): Promise<string> {
  const { status, json } = await call('POST', '/v1/uploads/init', {
    body: { file_name: 'a', file_size: size, chunk_size: chunkSize },
  })
  expect(status).toBe(201)
  return json.upload_id
}

/** What HEAD tells. */
export async function offsetOf(call: Client, id: string): Promise<number> {
  const { status, headers } = await call('HEAD', `/files/${id}`, { headers: TUS })
  expect(status).toBe(200)
  return Number(headers.get('upload-offset'))
}

export async function missingChunks(call: Client, id: string): Promise<number[]> {
  const { status, json } = await call('GET', `/v1/uploads/${id}/missing-chunks`)
  expect(status).toBe(200)
  return json.missing_chunk_indexes
}

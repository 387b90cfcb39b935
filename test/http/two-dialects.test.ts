import { expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS, type Client } from '../support/client.ts'
import { useServer } from '../support/server.ts'

const CHUNK = MIB
const bytes = bytesOf(5 * CHUNK - 1000)
const chunk = (index: number) => bytes.subarray(index * CHUNK, (index + 1) * CHUNK)

const initiate = async (call: Client) => {
  const { json, status } = await call('POST', '/v1/uploads/init', {
    body: { file_name: 'a.bin', file_size: bytes.length, chunk_size: CHUNK },
  })
  expect(status).toBe(201)
  return json.upload_id as string
}

const createByTus = async (call: Client) => {
  const { headers } = await call('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': String(bytes.length) },
  })
  return headers.get('location')?.split('/').at(-1) ?? ''
}

const headOffset = async (call: Client, id: string) =>
  Number((await call('HEAD', `/files/${id}`, { headers: TUS })).headers.get('upload-offset'))

test('an upload of init goes on by tus from the committed prefix that HEAD tells', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const id = await initiate(call)
  for (const index of [0, 1, 3])
    await call('PUT', `/v1/uploads/${id}/chunks/${index}`, { body: chunk(index) })
  expect(await headOffset(call, id)).toBe(2 * CHUNK)

  const patch = await call('PATCH', `/files/${id}`, {
    headers: patchAt(2 * CHUNK),
    body: bytes.subarray(2 * CHUNK),
  })

  expect(patch.status).toBe(204)
  expect(patch.headers.get('upload-offset')).toBe(String(bytes.length))
  expect((await call('GET', `/v1/uploads/${id}`)).json.status).toBe('COMPLETED')
  expect(sha256(await download(url, `/v1/uploads/${id}/download`))).toBe(sha256(bytes))
})

test('an upload of tus shows its gaps in missing-chunks, takes chunks and completes with the last one', async () => {
  const { url } = await useServer({ CHUNK_SIZE_BYTES: String(CHUNK) })
  const call = clientOf(url)
  const id = await createByTus(call)
  await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: bytes.subarray(0, 2.5 * CHUNK) })

  const missing = await call('GET', `/v1/uploads/${id}/missing-chunks`)
  expect(missing.json).toEqual({ upload_id: id, missing_chunk_indexes: [2, 3, 4], status: 'IN_PROGRESS' })
  for (const index of [4, 2, 3])
    expect((await call('PUT', `/v1/uploads/${id}/chunks/${index}`, { body: chunk(index) })).status).toBe(202)

  expect((await call('GET', `/v1/uploads/${id}`)).json.status).toBe('COMPLETED')
  expect((await call('POST', `/v1/uploads/${id}/complete`)).status).toBe(200)
  expect(sha256(await download(url, `/files/${id}`))).toBe(sha256(bytes))
})

test('a chunk on the cell that tus has entered keeps the prefix, and other bytes there are refused', async () => {
  const { url } = await useServer({ CHUNK_SIZE_BYTES: String(CHUNK) })
  const call = clientOf(url)
  const id = await createByTus(call)
  await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: bytes.subarray(0, 1000) })
  const other = Buffer.from(chunk(0))
  other[10] = (other[10] ?? 0) ^ 1

  expect((await call('PUT', `/v1/uploads/${id}/chunks/0`, { body: other })).status).toBe(409)
  expect(await headOffset(call, id)).toBe(1000)
  expect((await call('PUT', `/v1/uploads/${id}/chunks/0`, { body: chunk(0) })).status).toBe(202)
  expect(await headOffset(call, id)).toBe(CHUNK)
})

test('a PATCH answers its offset plus the bytes it took, over cells that are there, and going on from there works', async () => {
  const { url } = await useServer({ CHUNK_SIZE_BYTES: String(CHUNK) })
  const call = clientOf(url)
  const id = await createByTus(call)
  for (const index of [1, 2, 4])
    await call('PUT', `/v1/uploads/${id}/chunks/${index}`, { body: chunk(index) })

  let offset = 0
  while (offset < bytes.length) {
    const body = bytes.subarray(offset, offset + 700_000)
    const patch = await call('PATCH', `/files/${id}`, { headers: patchAt(offset), body })
    expect(patch.status).toBe(204)
    offset += body.length
    expect(patch.headers.get('upload-offset')).toBe(String(offset))
  }
  expect(sha256(await download(url, `/files/${id}`))).toBe(sha256(bytes))
})

test('cells that are there already keep their bytes when a PATCH brings others', async () => {
  const { url } = await useServer({ CHUNK_SIZE_BYTES: String(CHUNK) })
  const call = clientOf(url)
  const id = await createByTus(call)
  await call('PUT', `/v1/uploads/${id}/chunks/1`, { body: chunk(1) })
  const other = Buffer.from(bytes)
  other.fill(0, CHUNK, 2 * CHUNK)

  expect((await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: other })).status).toBe(204)
  expect(sha256(await download(url, `/files/${id}`))).toBe(sha256(bytes))
})

test('a freed chunk lowers the offset to its start and tus fills it again', async () => {
  const { url } = await useServer({ CHUNK_SIZE_BYTES: String(CHUNK) })
  const call = clientOf(url)
  const id = await createByTus(call)
  await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: bytes.subarray(0, 3.5 * CHUNK) })

  expect((await call('DELETE', `/v1/uploads/${id}/chunks/1`)).status).toBe(204)
  expect(await headOffset(call, id)).toBe(CHUNK)
  const patch = await call('PATCH', `/files/${id}`, { headers: patchAt(CHUNK), body: chunk(1) })
  expect(patch.headers.get('upload-offset')).toBe(String(2 * CHUNK))
  expect(await headOffset(call, id)).toBe(3.5 * CHUNK)
  await call('PATCH', `/files/${id}`, { headers: patchAt(3.5 * CHUNK), body: bytes.subarray(3.5 * CHUNK) })
  expect(sha256(await download(url, `/files/${id}`))).toBe(sha256(bytes))
})

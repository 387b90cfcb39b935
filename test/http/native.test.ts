import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { bytesOf, sha256 } from '../support/bytes.ts'
import { clientOf, download, type Client } from '../support/client.ts'
import { filesIn } from '../support/folder.ts'
import { BOB, useServer } from '../support/server.ts'

const CHUNK = 1000
const bytes = bytesOf(10 * CHUNK - 1)
const chunk = (index: number) => bytes.subarray(index * CHUNK, (index + 1) * CHUNK)

const initiate = async (call: Client, fields: object = {}): Promise<string> => {
  const answer = await call('POST', '/v1/uploads/init', {
    body: { file_name: 'a.bin', file_size: bytes.length, chunk_size: CHUNK, ...fields },
  })
  expect(answer.status).toBe(201)
  return answer.json.upload_id
}

const put = (call: Client, id: string, index: number, body: Buffer = chunk(index), headers = {}) =>
  call('PUT', `/v1/uploads/${id}/chunks/${index}`, { body, headers })

test('init answers the upload, and where it is in both dialects', async () => {
  const { url } = await useServer()
  const answer = await clientOf(url)('POST', '/v1/uploads/init', {
    body: { file_name: 'a.bin', file_size: 12_000_000 },
  })
  const id = answer.json.upload_id
  expect(answer.status).toBe(201)
  expect(answer.json).toEqual({ upload_id: id, chunk_size: 5_242_880, total_chunks: 3, status: 'INITIATED' })
  expect(answer.headers.get('location')).toBe(`/v1/uploads/${id}`)
  expect(answer.headers.get('x-tus-location')).toBe(`/files/${id}`)
})

test('creating an upload touches no file', async () => {
  const { url, root } = await useServer()
  await initiate(clientOf(url))
  expect(await readdir(path.join(root, 'files'))).toEqual(['.storage-root'])
})

test('chunks come in parallel and in any order, and the download is the file', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const id = await initiate(call)
  expect((await call('GET', `/v1/uploads/${id}`)).json.status).toBe('INITIATED')
  const order = [7, 2, 9, 0, 4]
  const answers = await Promise.all(order.map((index) => put(call, id, index)))
  expect(answers.map(({ status, json }) => [status, json])).toEqual(
    order.map((index) => [202, { upload_id: id, chunk_index: index, status: 'UPLOADED' }]),
  )
  expect((await call('GET', `/v1/uploads/${id}/missing-chunks`)).json).toEqual({
    upload_id: id,
    missing_chunk_indexes: [1, 3, 5, 6, 8],
    status: 'IN_PROGRESS',
  })
  await Promise.all([1, 3, 5, 6, 8].map((index) => put(call, id, index)))
  const completed = await call('POST', `/v1/uploads/${id}/complete`)
  expect([completed.status, completed.json]).toEqual([200, { upload_id: id, status: 'COMPLETED' }])
  expect(sha256(await download(url, `/v1/uploads/${id}/download`))).toBe(sha256(bytes))
})

test('complete on a completed upload answers 200 again', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const id = await initiate(call, { file_size: 3, chunk_size: 5 })
  await put(call, id, 0, Buffer.from('abc'))
  for (let i = 0; i < 3; i++) expect((await call('POST', `/v1/uploads/${id}/complete`)).status).toBe(200)
})

test('a stored chunk that comes again answers 202 with the same bytes and 409 with others', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const id = await initiate(call)
  expect((await put(call, id, 3)).status).toBe(202)
  expect((await put(call, id, 3)).status).toBe(202)
  const refused = await put(call, id, 3, Buffer.alloc(CHUNK))
  expect([refused.status, refused.json.error_code]).toEqual([409, 'conflict'])
  for (const index of [0, 1, 2, 4, 5, 6, 7, 8, 9]) await put(call, id, index)
  await call('POST', `/v1/uploads/${id}/complete`)
  expect(sha256(await download(url, `/v1/uploads/${id}/download`))).toBe(sha256(bytes))
})

test('a freed chunk is missing again and takes other bytes', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const id = await initiate(call, { file_size: 2 * CHUNK })
  await put(call, id, 0, Buffer.alloc(CHUNK))
  await put(call, id, 1)
  expect((await call('DELETE', `/v1/uploads/${id}/chunks/0`)).status).toBe(204)
  expect((await call('GET', `/v1/uploads/${id}/missing-chunks`)).json.missing_chunk_indexes).toEqual([0])
  expect((await put(call, id, 0)).status).toBe(202)
  await call('POST', `/v1/uploads/${id}/complete`)
  expect(sha256(await download(url, `/v1/uploads/${id}/download`))).toBe(sha256(bytes.subarray(0, 2 * CHUNK)))
})

test('a file of no bytes has no chunks and completes at once', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const { json } = await call('POST', '/v1/uploads/init', { body: { file_name: 'empty', file_size: 0 } })
  expect(json).toMatchObject({ total_chunks: 0, status: 'INITIATED' })
  expect((await call('POST', `/v1/uploads/${json.upload_id}/complete`)).status).toBe(200)
  expect(await download(url, `/v1/uploads/${json.upload_id}/download`)).toEqual(Buffer.alloc(0))
})

test('a chunk with the right digests is stored', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const id = await initiate(call)
  const digest = Buffer.from(sha256(chunk(0)), 'hex')
  const headers = {
    'X-Chunk-SHA256': digest.toString('hex').toUpperCase(),
    'Content-Digest': `sha-512=:AAAA:, sha-256=:${digest.toString('base64')}:`,
  }
  expect((await put(call, id, 0, chunk(0), headers)).status).toBe(202)
})

test('a wrong whole-file checksum answers 409, and the upload can be mended', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const good = chunk(0)
  const id = await initiate(call, { file_size: CHUNK, file_checksum_sha256: sha256(good).toUpperCase() })
  await put(call, id, 0, Buffer.alloc(CHUNK))
  expect((await call('POST', `/v1/uploads/${id}/complete`)).status).toBe(409)
  expect((await call('GET', `/v1/uploads/${id}`)).json.status).toBe('IN_PROGRESS')
  await call('DELETE', `/v1/uploads/${id}/chunks/0`)
  await put(call, id, 0, good)
  expect((await call('POST', `/v1/uploads/${id}/complete`)).status).toBe(200)
})

test('a single upload tells all of itself', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const id = await initiate(call, { content_type: 'text/plain', metadata: { album: 'x', n: 1 } })
  await put(call, id, 0)
  await put(call, id, 5)
  const { json } = await call('GET', `/v1/uploads/${id}`)
  expect(json).toEqual({
    upload_id: id,
    file_name: 'a.bin',
    file_size: bytes.length,
    chunk_size: CHUNK,
    total_chunks: 10,
    uploaded_chunks: 2,
    offset: CHUNK,
    status: 'IN_PROGRESS',
    content_type: 'text/plain',
    metadata: { album: 'x', n: 1 },
    file_checksum_sha256: null,
    created_at: expect.stringMatching(/^\d{4}-.*Z$/),
    updated_at: expect.stringMatching(/^\d{4}-.*Z$/),
    expires_at: expect.stringMatching(/^\d{4}-.*Z$/),
  })
})

test('the list holds the own uploads, newest first, page by page and by status', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const ids: string[] = []
  for (let i = 0; i < 5; i++) ids.unshift(await initiate(call))
  await initiate(clientOf(url, BOB))
  await put(call, ids[1] as string, 0)

  const seen: string[] = []
  let cursor: string | null = ''
  let pages = 0
  do {
    const page: any = (await call('GET', `/v1/uploads?limit=2${cursor && `&cursor=${cursor}`}`)).json
    seen.push(...page.uploads.map((upload: { upload_id: string }) => upload.upload_id))
    cursor = page.next_cursor
    pages += 1
  } while (cursor !== null)
  expect(seen).toEqual(ids)
  expect(pages).toBe(3)
  const open = await call('GET', '/v1/uploads?status=IN_PROGRESS')
  expect(open.json.uploads.map((upload: { upload_id: string }) => upload.upload_id)).toEqual([ids[1]])
})

test('a deleted upload is gone with its bytes, in any state', async () => {
  const { url, root } = await useServer()
  const call = clientOf(url)
  const unfinished = await initiate(call)
  await put(call, unfinished, 0)
  const finished = await initiate(call, { file_size: CHUNK })
  await put(call, finished, 0)
  await call('POST', `/v1/uploads/${finished}/complete`)

  for (const id of [unfinished, finished]) {
    expect((await call('DELETE', `/v1/uploads/${id}`)).status).toBe(204)
    for (const [method, suffix] of [
      ['GET', ''],
      ['GET', '/missing-chunks'],
      ['POST', '/complete'],
      ['DELETE', ''],
      ['GET', '/download'],
    ])
      expect((await call(method as string, `/v1/uploads/${id}${suffix}`)).status).toBe(404)
    expect((await put(call, id, 0)).status).toBe(404)
  }
  expect(await filesIn(path.join(root, 'files'))).toEqual([])
})

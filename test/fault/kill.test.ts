import { expect, onTestFinished, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { spawnServer, type ServerProcess } from '../support/process.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const CHUNK = MIB

const start = async (root: string): Promise<ServerProcess> => {
  const server = await spawnServer(root, { CHUNK_SIZE_BYTES: String(CHUNK), LOG_LEVEL: 'error' })
  onTestFinished(() => void server.child.kill('SIGKILL'))
  return server
}

test('kill -9 in mid-PATCH loses less than one chunk of it and nothing that was acknowledged', async () => {
  const root = await useFolder()
  const bytes = bytesOf(40 * CHUNK + 123)
  let server = await start(root)
  const created = await clientOf(server.url)('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': String(bytes.length) },
  })
  const path = new URL(created.headers.get('location') ?? '').pathname
  let acknowledged = 0

  for (const stop of [3.5, 10, 17.25, 31.99]) {
    const client = clientOf(server.url)
    const head = await client('HEAD', path, { headers: TUS })
    const offset = Number(head.headers.get('upload-offset'))
    expect(offset).toBeGreaterThanOrEqual(acknowledged)
    const small = await client('PATCH', path, {
      headers: patchAt(offset),
      body: bytes.subarray(offset, offset + 1000),
    })
    acknowledged = Number(small.headers.get('upload-offset'))
    expect(acknowledged).toBe(offset + 1000)

    const sent = Math.floor(stop * CHUNK)
    const patch = slowRequest(server.url, 'PATCH', path, {
      ...patchAt(acknowledged),
      'Content-Length': String(bytes.length - acknowledged),
    })
    await patch.send(bytes.subarray(acknowledged, sent))
    const wholeCells = Math.floor(sent / CHUNK) * CHUNK
    await eventually(
      async () =>
        Number((await client('HEAD', path, { headers: TUS })).headers.get('upload-offset')) >= wholeCells,
      'the whole cells of the PATCH are committed',
    )
    acknowledged = wholeCells
    expect(await server.signal('SIGKILL')).toBe('SIGKILL')
    patch.cut()
    server = await start(root)
  }
  const rest = await clientOf(server.url)('HEAD', path, { headers: TUS })
  const offset = Number(rest.headers.get('upload-offset'))
  expect(offset).toBeGreaterThanOrEqual(acknowledged)
  await clientOf(server.url)('PATCH', path, { headers: patchAt(offset), body: bytes.subarray(offset) })
  expect(sha256(await download(server.url, path))).toBe(sha256(bytes))
})

test('kill -9 among parallel chunks: every 202 is kept, no other chunk counts wrongly, and the file is right', async () => {
  const root = await useFolder()
  const count = 24
  const bytes = bytesOf(count * CHUNK - 5)
  let server = await start(root)
  const init = await clientOf(server.url)('POST', '/v1/uploads/init', {
    body: { file_name: 'a', file_size: bytes.length, chunk_size: CHUNK },
  })
  const id = init.json.upload_id
  const put = (index: number) =>
    clientOf(server.url)('PUT', `/v1/uploads/${id}/chunks/${index}`, {
      body: bytes.subarray(index * CHUNK, (index + 1) * CHUNK),
    })
  const acknowledged = new Set<number>()

  for (let round = 0; round < 3; round++) {
    const missing: number[] = (await clientOf(server.url)('GET', `/v1/uploads/${id}/missing-chunks`)).json
      .missing_chunk_indexes
    for (const index of acknowledged) expect(missing).not.toContain(index)
    const firstAnswers = 3 + round
    let answers = 0
    const sending = missing.slice(0, 8).map(async (index) => {
      const answer = await put(index)
      expect(answer.status).toBe(202)
      acknowledged.add(index)
      answers += 1
      if (answers === firstAnswers) server.child.kill('SIGKILL')
    })
    await Promise.allSettled(sending)
    await server.signal('SIGKILL')
    server = await start(root)
  }
  const missing: number[] = (await clientOf(server.url)('GET', `/v1/uploads/${id}/missing-chunks`)).json
    .missing_chunk_indexes
  expect(missing.length).toBeLessThanOrEqual(count - acknowledged.size)
  for (const index of missing) expect((await put(index)).status).toBe(202)
  expect((await clientOf(server.url)('POST', `/v1/uploads/${id}/complete`)).status).toBe(200)
  expect(sha256(await download(server.url, `/v1/uploads/${id}/download`))).toBe(sha256(bytes))
})

test('SIGTERM refuses new requests, commits what a PATCH brought and exits 0', async () => {
  const root = await useFolder()
  const bytes = bytesOf(3 * CHUNK)
  const server = await start(root)
  const created = await clientOf(server.url)('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': String(bytes.length) },
  })
  const path = new URL(created.headers.get('location') ?? '').pathname
  const patch = slowRequest(server.url, 'PATCH', path, {
    ...patchAt(0),
    'Content-Length': String(bytes.length),
  })
  await patch.send(bytes.subarray(0, 1.5 * CHUNK))
  await eventually(
    async () =>
      Number((await clientOf(server.url)('HEAD', path, { headers: TUS })).headers.get('upload-offset')) ===
      CHUNK,
    'the first cell is committed',
  )
  expect(await server.signal('SIGTERM')).toBe(0)

  const next = await start(root)
  const head = await clientOf(next.url)('HEAD', path, { headers: TUS })
  expect(Number(head.headers.get('upload-offset'))).toBe(1.5 * CHUNK)
})

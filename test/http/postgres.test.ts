import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { bytesOf, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS, type Client } from '../support/client.ts'
import { PASSWORD } from '../support/postgres-server.ts'
import { startOwnPostgres } from '../support/postgres.ts'
import { ALICE, startTestServer, useServer, type TestServer } from '../support/server.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const postgres = await startOwnPostgres()
const CELL = 1_000
const BYTES = bytesOf(2_500)

describe.skipIf(!postgres.available)('a server on PostgreSQL', () => {
  let server: TestServer
  let call: Client
  beforeEach(async () => {
    server = await useServer({
      DATABASE_URL: await postgres.database(),
      CHUNK_SIZE_BYTES: String(CELL),
      LOG_LEVEL: 'trace',
    })
    call = clientOf(server.url)
    // Whatever is told of the database, its password is not.
    onTestFinished(() => {
      expect(server.lines.length).toBeGreaterThan(0)
      for (const secret of [PASSWORD, encodeURIComponent(PASSWORD)])
        expect(JSON.stringify(server.lines)).not.toContain(secret)
    })
  })

  const createTus = async (size = BYTES.length) => {
    const { status, headers } = await call('POST', '/files', {
      headers: { ...TUS, 'Upload-Length': String(size), 'Upload-Metadata': `filename ${btoa('a.bin')}` },
    })
    expect(status).toBe(201)
    return new URL(headers.get('location') ?? '').pathname
  }
  const patch = (path: string, offset: number, end: number) =>
    call('PATCH', path, { headers: patchAt(offset), body: BYTES.subarray(offset, end) })
  const offsetOf = async (path: string) =>
    Number((await call('HEAD', path, { headers: TUS })).headers.get('upload-offset'))

  const init = async (fields: object = {}) => {
    const { json } = await call('POST', '/v1/uploads/init', {
      body: { file_name: 'a.bin', file_size: BYTES.length, ...fields },
    })
    return `/v1/uploads/${json.upload_id}`
  }
  const put = (path: string, index: number) =>
    call('PUT', `${path}/chunks/${index}`, {
      body: BYTES.subarray(index * CELL, (index + 1) * CELL),
    })

  const isReady = async () => (await call('GET', '/ready')).status === 200

  test('a tus upload goes up in pieces and comes down again', async () => {
    const path = await createTus()
    expect((await patch(path, 0, 700)).headers.get('upload-offset')).toBe('700')
    expect(await offsetOf(path)).toBe(700)
    expect((await patch(path, 0, 700)).status).toBe(409)
    expect((await patch(path, 700, 2_500)).headers.get('upload-offset')).toBe('2500')
    expect(sha256(await download(server.url, path))).toBe(sha256(BYTES))
  })

  test('chunks go up in any order, with names and metadata of any language, and are listed', async () => {
    const fields = {
      file_name: 'Übung 日本 🏳️‍🌈.bin',
      metadata: { z: ['é', 1], a: 'ü' },
      content_type: 'text/plain',
    }
    const path = await init({ ...fields, file_checksum_sha256: sha256(BYTES) })
    const puts = await Promise.all([2, 0].map((index) => put(path, index)))
    expect(puts.map(({ status }) => status)).toEqual([202, 202])
    expect((await call('GET', `${path}/missing-chunks`)).json.missing_chunk_indexes).toEqual([1])
    expect((await call('POST', `${path}/complete`)).status).toBe(409)
    expect((await call('DELETE', `${path}/chunks/2`)).status).toBe(204)
    await Promise.all([put(path, 1), put(path, 2)])
    expect((await call('POST', `${path}/complete`)).json.status).toBe('COMPLETED')
    expect((await call('GET', path)).json).toMatchObject({ ...fields, status: 'COMPLETED' })
    const listed = await call('GET', '/v1/uploads?status=COMPLETED')
    expect(listed.json.uploads.map((each: { file_name: string }) => each.file_name)).toEqual([
      fields.file_name,
    ])
    expect(sha256(await download(server.url, `${path}/download`))).toBe(sha256(BYTES))
    expect((await call('DELETE', path)).status).toBe(204)
    expect((await call('GET', path)).status).toBe(404)
  })

  test('a NUL is refused before it reaches the database', async () => {
    for (const fields of [{ file_name: 'a\0' }, { content_type: 'a\0' }, { metadata: { a: '\0' } }])
      expect(
        (await call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 1, ...fields } }))
          .status,
      ).toBe(422)
    const told = { ...TUS, 'Upload-Length': '1', 'Upload-Metadata': `filename ${btoa('a\0b')}` }
    expect((await call('POST', '/files', { headers: told })).status).toBe(400)
  })

  test('while the database is away everything is 503 with Retry-After and /ready is red; then all goes on', async () => {
    const tus = await createTus()
    await patch(tus, 0, 1_300)
    const chunks = await init()
    await put(chunks, 1)
    expect(await isReady()).toBe(true)

    await postgres.crash()
    expect((await call('GET', '/ready')).status).toBe(503)
    expect((await call('GET', '/health')).status).toBe(200)
    const refused = [
      await patch(tus, 1_300, 2_500),
      await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '5' } }),
      await call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 1 } }),
      await put(chunks, 0),
      await call('GET', chunks),
      await call('GET', `${chunks}/missing-chunks`),
      await call('GET', '/v1/uploads'),
      await call('POST', `${chunks}/complete`),
      await call('DELETE', chunks),
    ]
    for (const { status, headers } of refused)
      expect([status, headers.get('retry-after')]).toEqual([503, expect.stringMatching(/^\d+$/)])
    // tus-js-client would start anew on anything else.
    expect((await call('HEAD', tus, { headers: TUS })).status).toBe(423)

    await postgres.start()
    await eventually(isReady, 'the server is ready again')
    expect(await offsetOf(tus)).toBe(1_300)
    expect((await patch(tus, 1_300, 2_500)).status).toBe(204)
    expect(sha256(await download(server.url, tus))).toBe(sha256(BYTES))
    await Promise.all([put(chunks, 0), put(chunks, 2)])
    expect((await call('POST', `${chunks}/complete`)).status).toBe(200)
    expect(sha256(await download(server.url, `${chunks}/download`))).toBe(sha256(BYTES))
  })

  test('a PATCH under way when the database goes away is 503, and goes on from what HEAD tells', async () => {
    const path = await createTus()
    const slow = slowRequest(server.url, 'PATCH', path, { ...patchAt(0), 'Content-Length': '2500' })
    await slow.send(BYTES.subarray(0, 1_200))
    await eventually(async () => (await offsetOf(path)) >= CELL, 'the first chunk counts')
    await postgres.crash()
    await slow.send(BYTES.subarray(1_200))
    const { status, headers } = await slow.answer
    expect([status, headers['retry-after']]).toEqual([503, '1'])
    await postgres.start()
    await eventually(isReady, 'the server is ready again')
    const offset = await offsetOf(path)
    expect(offset).toBeGreaterThanOrEqual(CELL)
    expect((await patch(path, offset, 2_500)).status).toBe(204)
    expect(sha256(await download(server.url, path))).toBe(sha256(BYTES))
  })

  test('a server whose database is away shuts down all the same', async () => {
    const own = await startTestServer({ DATABASE_URL: await postgres.database() })
    await postgres.crash()
    await clientOf(own.url)('GET', '/v1/uploads')
    await own.close()
    await postgres.start()
  })

  test('two servers on one database and one folder see the same uploads at any moment', async () => {
    const shared = await postgres.database()
    const env = { DATABASE_URL: shared, CHUNK_SIZE_BYTES: String(CELL) }
    const [one, two] = await Promise.all([
      startTestServer(env, server.root),
      startTestServer(env, server.root),
    ])
    onTestFinished(async () => {
      await Promise.all([one.close(), two.close()])
    })
    call = clientOf(one.url)
    const path = await createTus()
    await patch(path, 0, 1_500)
    call = clientOf(two.url, ALICE)
    expect(await offsetOf(path)).toBe(1_500)
    await patch(path, 1_500, 2_500)
    expect(sha256(await download(one.url, path))).toBe(sha256(BYTES))
  })
})

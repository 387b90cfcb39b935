import { beforeEach, expect, test } from 'vitest'
import { bytesOf } from '../support/bytes.ts'
import { clientOf, patchAt, TUS, type Answer, type Client } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { BOB, startTestServer, useServer, type TestServer } from '../support/server.ts'

const QUOTA = 10_000
const BYTES = bytesOf(QUOTA)

let server: TestServer
let alice: Client
beforeEach(async () => {
  server = await useServer({
    MAX_BYTES_PER_USER: String(QUOTA),
    CHUNK_SIZE_BYTES: '1000',
    MAX_UPLOAD_BYTES: '10000000',
  })
  alice = clientOf(server.url)
})

const init = (size: number, call = alice, headers = {}) =>
  call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: size }, headers })
const createTus = (headers: Record<string, string>, body?: Buffer) =>
  alice('POST', '/files', { headers: { ...TUS, ...headers }, ...(body && { body }) })
const pathOf = ({ headers }: Answer) => new URL(headers.get('location') ?? '').pathname
const patch = (path: string, offset: number, end: number, headers = {}) =>
  alice('PATCH', path, { headers: { ...patchAt(offset), ...headers }, body: BYTES.subarray(offset, end) })
const offsetOf = async (path: string) =>
  Number((await alice('HEAD', path, { headers: TUS })).headers.get('upload-offset'))
const WORDS = 'All uploads of a user together may have 10000 bytes: there is no room for this.'

test('natively, what goes over the quota is 413 that says so, and another user is not concerned', async () => {
  expect((await init(6_000)).status).toBe(201)
  const refused = await init(4_001)
  expect([refused.status, refused.json.error_code, refused.json.detail]).toEqual([
    413,
    'payload_too_large',
    WORDS,
  ])
  expect((await init(QUOTA, clientOf(server.url, BOB))).status).toBe(201)
  expect((await init(4_000)).status).toBe(201)
  expect((await alice('GET', '/v1/uploads')).json.uploads).toHaveLength(2)
})

test('by tus it is 413 with the same words, before the body, and counts what the other dialect took', async () => {
  await init(9_000)
  const refused = await createTus({ 'Upload-Length': '1001' })
  expect([refused.status, refused.text]).toEqual([413, `${WORDS}\n`])
  const type = { 'Content-Type': 'application/offset+octet-stream' }
  const withBody = await createTus({ 'Upload-Length': '1001', ...type }, BYTES.subarray(0, 1001))
  expect([withBody.status, withBody.headers.get('location')]).toEqual([413, null])
  expect((await createTus({ 'Upload-Length': '1000' })).status).toBe(201)
  expect((await alice('GET', '/v1/uploads')).json.uploads).toHaveLength(2)
})

test('of many creations at once in both dialects as many succeed as fit', async () => {
  const answers = await Promise.all(
    Array.from({ length: 24 }, (_, i) => (i % 2 ? init(999) : createTus({ 'Upload-Length': '999' }))),
  )
  const statuses = answers.map(({ status }) => status).toSorted((a, b) => a - b)
  expect(statuses).toEqual([...Array(10).fill(201), ...Array(14).fill(413)])
})

test('a deletion makes room at once', async () => {
  const { json } = await init(QUOTA)
  expect((await init(1)).status).toBe(413)
  await alice('DELETE', `/v1/uploads/${json.upload_id}`)
  expect((await init(QUOTA)).status).toBe(201)
})

test('an upload of deferred length grows up to the quota, and keeps what it has when it is refused more', async () => {
  await init(7_500)
  const path = pathOf(await createTus({ 'Upload-Defer-Length': '1' }))
  expect((await patch(path, 0, 1_500)).status).toBe(204)
  const refused = await patch(path, 1_500, 4_000)
  expect([refused.status, refused.text]).toEqual([413, `${WORDS}\n`])
  expect(await offsetOf(path)).toBe(2_000)
  expect((await patch(path, 2_000, 2_500)).status).toBe(204)
  expect((await patch(path, 2_500, 2_501)).status).toBe(413)
  expect((await patch(path, 2_500, 2_500, { 'Upload-Length': '2500' })).status).toBe(204)
  expect((await alice('GET', path.replace('/files', '/v1/uploads'))).json.status).toBe('COMPLETED')
})

test('a length that is declared later is refused before the body when there is no room for it', async () => {
  await init(9_000)
  const path = pathOf(await createTus({ 'Upload-Defer-Length': '1' }))
  expect((await patch(path, 0, 500, { 'Upload-Length': '1001' })).status).toBe(413)
  expect(await offsetOf(path)).toBe(0)
  expect((await patch(path, 0, 1_000, { 'Upload-Length': '1000' })).status).toBe(204)
})

test('an init that is refused takes no Idempotency-Key, and one that comes again takes no room', async () => {
  const key = { 'Idempotency-Key': 'k' }
  const { json } = await init(6_000)
  expect((await init(5_000, alice, key)).status).toBe(413)
  await alice('DELETE', `/v1/uploads/${json.upload_id}`)
  for (let i = 0; i < 3; i++) expect((await init(5_000, alice, key)).status).toBe(201)
  expect((await init(5_000)).status).toBe(201)
})

test('a start counts what was created while there was no quota', async () => {
  const root = await useFolder()
  const withQuota = async (quota: number, work: (call: Client) => Promise<void>) => {
    const other = await startTestServer({ MAX_BYTES_PER_USER: String(quota) }, root)
    try {
      await work(clientOf(other.url))
    } finally {
      await other.close()
    }
  }
  await withQuota(QUOTA, async (call) => {
    expect((await init(4_000, call)).status).toBe(201)
  })
  await withQuota(0, async (call) => {
    expect((await init(5_000, call)).status).toBe(201)
  })
  await withQuota(QUOTA, async (call) => {
    expect((await init(1_001, call)).status).toBe(413)
    expect((await init(1_000, call)).status).toBe(201)
  })
  await withQuota(5_000, async (call) => {
    expect((await init(1, call)).status).toBe(413)
    expect((await init(0, call)).status).toBe(201)
    expect((await call('GET', '/v1/uploads')).json.uploads).toHaveLength(4)
  })
})

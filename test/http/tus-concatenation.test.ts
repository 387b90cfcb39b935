import { afterAll, beforeAll, expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS, type Client } from '../support/client.ts'
import { BOB, startTestServer, useServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Client
beforeAll(async () => {
  server = await startTestServer({ CHUNK_SIZE_BYTES: String(MIB), MAX_CONCAT_PARTS: '300' })
  call = clientOf(server.url)
})
afterAll(() => server.close())

const pathOf = (headers: Headers) => new URL(headers.get('location') ?? '').pathname

const partial = async (bytes: Buffer, ask: Client = call): Promise<string> => {
  const { status, headers } = await ask('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': String(bytes.length), 'Upload-Concat': 'partial' },
  })
  expect(status).toBe(201)
  if (bytes.length > 0) await ask('PATCH', pathOf(headers), { headers: patchAt(0), body: bytes })
  return pathOf(headers)
}

const final = (urls: string[], ask: Client = call, headers = {}) =>
  ask('POST', '/files', { headers: { ...TUS, 'Upload-Concat': `final;${urls.join(' ')}`, ...headers } })

const pieces = [bytesOf(2 * MIB + 1, 2), bytesOf(10, 3), bytesOf(MIB, 4)]

test('partial uploads make a final one, by relative and absolute URLs, one of them twice', async () => {
  const [a = '', b = '', c = ''] = await Promise.all(pieces.map((bytes) => partial(bytes)))
  const urls = [c, server.url + a, `https://elsewhere.example/x${b}`, c]
  const answer = await final(urls, call, {
    'Upload-Metadata': `filename ${Buffer.from('joined.bin').toString('base64')}`,
  })
  expect(answer.status).toBe(201)
  const whole = Buffer.concat([pieces[2], pieces[0], pieces[1], pieces[2]] as Buffer[])
  const path = pathOf(answer.headers)
  expect(sha256(await download(server.url, path))).toBe(sha256(whole))
  const head = await call('HEAD', path, { headers: TUS })
  expect(head.headers.get('upload-concat')).toBe(`final;${urls.join(' ')}`)
  expect(head.headers.get('upload-length')).toBe(String(whole.length))
  expect(head.headers.get('upload-offset')).toBe(String(whole.length))
  expect(head.headers.get('upload-expires')).toBeNull()
  const shown = await call('GET', path.replace('/files/', '/v1/uploads/'))
  expect(shown.json).toMatchObject({ status: 'COMPLETED', file_name: 'joined.bin' })
  const missing = await call('GET', `${path.replace('/files/', '/v1/uploads/')}/missing-chunks`)
  expect(missing.json.missing_chunk_indexes).toEqual([])
})

test('parts stay readable by HEAD and serve several final uploads', async () => {
  const [a, b] = [await partial(bytesOf(1000, 7)), await partial(bytesOf(1000, 8))]
  const first = await final([a, b])
  const second = await final([b, a])
  expect(pathOf(first.headers)).not.toBe(pathOf(second.headers))
  for (const path of [a, b]) {
    const head = await call('HEAD', path, { headers: TUS })
    expect([head.status, head.headers.get('upload-concat')]).toEqual([200, 'partial'])
    expect(head.headers.get('upload-expires')).not.toBeNull()
  }
  expect(await download(server.url, pathOf(second.headers))).toEqual(
    Buffer.concat([bytesOf(1000, 8), bytesOf(1000, 7)]),
  )
})

test('the same list gives the same Location again, also at once, and a new one after DELETE', async () => {
  const urls = [await partial(bytesOf(5, 1)), await partial(bytesOf(5, 2))]
  const answers = await Promise.all([final(urls), final(urls), final(urls)])
  expect(answers.map(({ status }) => status)).toEqual([201, 201, 201])
  expect(new Set(answers.map(({ headers }) => headers.get('location'))).size).toBe(1)
  const path = pathOf((await final(urls)).headers)
  expect(path).toBe(pathOf((answers[0] as { headers: Headers }).headers))
  await call('DELETE', path, { headers: TUS })
  const again = await final(urls)
  expect(again.status).toBe(201)
  expect(pathOf(again.headers)).not.toBe(path)
})

test('200 parts of one byte and empty ones make a file', async () => {
  const bytes = bytesOf(200)
  const urls: string[] = []
  for (let i = 0; i < 200; i++) urls.push(await partial(bytes.subarray(i, i + (i % 50 === 0 ? 0 : 1))))
  const answer = await final(urls)
  expect(answer.status).toBe(201)
  const expected = Buffer.from([...bytes].filter((_, i) => i % 50 !== 0))
  expect(await download(server.url, pathOf(answer.headers))).toEqual(expected)
})

test('a final upload takes no bytes: PATCH is 403, a chunk is 409', async () => {
  const path = pathOf((await final([await partial(bytesOf(5))])).headers)
  expect((await call('PATCH', path, { headers: patchAt(5), body: 'more' })).status).toBe(403)
  const chunk = await call('PUT', `${path.replace('/files/', '/v1/uploads/')}/chunks/0`, {
    body: Buffer.alloc(5),
  })
  expect(chunk.status).toBe(409)
})

test('a partial upload never finishes by itself: no metric, no download, no complete', async () => {
  const own = await useServer()
  const ask = clientOf(own.url)
  const path = await partial(bytesOf(10), ask)
  const api = path.replace('/files/', '/v1/uploads/')
  expect((await ask('GET', '/metrics')).text).not.toMatch(/uploads_completed_total\{.*\} 1/)
  expect((await ask('GET', path)).status).toBe(409)
  expect((await ask('POST', `${api}/complete`)).status).toBe(409)
  await final([path], ask)
  await final([path], ask)
  expect((await ask('GET', '/metrics')).text).toContain('uploads_completed_total{dialect="tus"} 1')
})

test('what can be no part is refused, and nothing is made', async () => {
  const good = await partial(bytesOf(5, 9))
  const unfinished = await call('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': '5', 'Upload-Concat': 'partial' },
  })
  const plain = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '0' } })
  const finished = await final([good])
  const bobs = await partial(bytesOf(5), clientOf(server.url, BOB))
  const count = async () => (await call('GET', '/v1/uploads?limit=1000')).json.uploads.length
  const before = await count()
  const refusals: [string, string[], number][] = [
    ['unfinished', [good, pathOf(unfinished.headers)], 400],
    ['not partial', [pathOf(plain.headers)], 400],
    ['final', [pathOf(finished.headers)], 400],
    ["another user's", [good, bobs], 403],
    ['unknown', ['/files/00000000-0000-4000-8000-000000000000'], 404],
    ['a path', ['/files/../../etc/passwd'], 404],
    ['no id', ['/files/x'], 404],
    ['too many', Array.from({ length: 301 }, () => good), 400],
    ['none', [''], 400],
  ]
  for (const [what, urls, status] of refusals)
    expect([what, (await final(urls)).status]).toEqual([what, status])
  expect((await final([good], call, { 'Upload-Length': '5' })).status).toBe(400)
  expect(await count()).toBe(before)
})

test('other requests are answered while a long concatenation runs', async () => {
  const big = bytesOf(64 * MIB)
  const part = await partial(big)
  let done = false
  const joining = final([part, part, part, part]).then((answer) => {
    done = true
    return answer
  })
  let answered = 0
  while (!done) {
    expect((await call('GET', '/health')).status).toBe(200)
    answered += 1
  }
  const answer = await joining
  expect(answer.status).toBe(201)
  expect(answered).toBeGreaterThan(1)
  const joined = await call('HEAD', pathOf(answer.headers), { headers: TUS })
  expect(joined.headers.get('upload-length')).toBe(String(4 * big.length))
})

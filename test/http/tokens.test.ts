import { beforeAll, describe, expect, test, vi } from 'vitest'
import { Upload } from 'tus-js-client'
import { bytesOf, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS, type Client } from '../support/client.ts'
import { useClock } from '../support/clock.ts'
import { useFolder } from '../support/folder.ts'
import { ALICE, BOB, startTestServer, useServer } from '../support/server.ts'
import { bearer, holderOf, JWT_SECRET, tokenFor } from '../support/tokens.ts'
import { createByTus, createNatively, missingChunks, offsetOf } from '../support/uploading.ts'

const BYTES = bytesOf(25)
const DAY = 86_400

interface Made {
  token: string
  upload_id: string
  expires_at: string
  endpoints: Record<'tus' | 'upload' | 'chunk' | 'missing_chunks' | 'complete', string>
}

async function makeToken(call: Client, id: string, wanted?: object): Promise<Made> {
  const { status, json } = await call('POST', `/v1/uploads/${id}/tokens`, wanted && { body: wanted })
  expect(status).toBe(201)
  return json
}

const statusWith = async (url: string, id: string, token: string): Promise<number> =>
  (await holderOf(url, token)('GET', `/v1/uploads/${id}`)).status

const clock = useClock()

describe('the holder of a token', () => {
  let url: string
  let call: Client
  beforeAll(async () => {
    const server = await startTestServer({ AUTH_FAILURES_PER_MINUTE: '0' })
    url = server.url
    call = clientOf(url)
    return () => server.close()
  })

  test('sends an upload by chunks, finds out what is missing, and completes it', async () => {
    const id = await createNatively(call, BYTES.length, 10)
    const { token, upload_id: told, endpoints } = await makeToken(call, id)
    expect(told).toBe(id)
    const holder = holderOf('', token)
    for (const index of [0, 2]) {
      const body = BYTES.subarray(index * 10, index * 10 + 10)
      const put = await holder('PUT', endpoints.chunk.replace('{index}', String(index)), { body })
      expect(put.status).toBe(202)
    }
    expect((await holder('GET', endpoints.missing_chunks)).json.missing_chunk_indexes).toEqual([1])
    const last = { body: BYTES.subarray(10, 20), headers: { 'Idempotency-Key': 'one' } }
    for (let times = 0; times < 2; times++)
      expect((await holder('PUT', endpoints.chunk.replace('{index}', '1'), last)).status).toBe(202)
    for (let times = 0; times < 2; times++)
      expect((await holder('POST', endpoints.complete)).json.status).toBe('COMPLETED')
    expect((await holder('GET', endpoints.upload)).json).toMatchObject({ status: 'COMPLETED', offset: 25 })
    expect(await download(url, `/files/${id}`)).toEqual(BYTES)
  })

  test('sends an upload by tus-js-client, from where it stands', async () => {
    const bytes = bytesOf(3_000_000)
    const id = await createByTus(call, bytes.length)
    await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: bytes.subarray(0, 1_000_000) })
    const { token, endpoints } = await makeToken(call, id)
    const sent: number[] = []
    await new Promise<void>((resolve, reject) => {
      new Upload(bytes, {
        uploadUrl: endpoints.tus,
        headers: bearer(token),
        chunkSize: 700_000,
        onProgress: (done) => sent.push(done),
        onError: reject,
        onSuccess: () => resolve(),
      }).start()
    })
    expect(sent[0]).toBeGreaterThanOrEqual(1_000_000)
    expect(sha256(await download(url, `/files/${id}`))).toBe(sha256(bytes))
  })

  test('has Idempotency-Keys of their own, which are not in the way of the owner', async () => {
    const id = await createNatively(call, BYTES.length, 10)
    const { token } = await makeToken(call, id)
    const headers = { 'Idempotency-Key': 'the same' }
    const put = (index: number) =>
      [
        'PUT',
        `/v1/uploads/${id}/chunks/${index}`,
        { headers, body: BYTES.subarray(index * 10, index * 10 + 10) },
      ] as const
    expect((await holderOf(url, token)(...put(0))).status).toBe(202)
    expect((await holderOf(url, token)(...put(0))).status).toBe(202)
    expect((await holderOf(url, token)(...put(1))).status).toBe(409)
    const body = { file_name: 'a', file_size: 5 }
    expect((await call('POST', '/v1/uploads/init', { headers, body })).status).toBe(201)
  })

  test('goes on in one dialect with what came in the other', async () => {
    const id = await createNatively(call, BYTES.length, 10)
    const { token } = await makeToken(call, id)
    const holder = holderOf(url, token)
    await holder('PUT', `/v1/uploads/${id}/chunks/0`, { body: BYTES.subarray(0, 10) })
    expect(await offsetOf(holder, id)).toBe(10)
    await holder('PATCH', `/files/${id}`, { headers: patchAt(10), body: BYTES.subarray(10, 20) })
    expect(await missingChunks(holder, id)).toEqual([2])
  })

  test('neither downloads the file, deletes or frees anything, creates an upload, nor lets others in', async () => {
    const id = await createByTus(call, BYTES.length)
    const { token } = await makeToken(call, id)
    const holder = holderOf(url, token)
    await holder('PATCH', `/files/${id}`, { headers: patchAt(0), body: BYTES })
    const length = { ...TUS, 'Upload-Length': '5' }
    const tries: [string, string, Record<string, string>?][] = [
      ['GET', `/files/${id}`],
      ['GET', `/v1/uploads/${id}/download`],
      ['HEAD', `/v1/uploads/${id}/download`],
      ['GET', '/v1/uploads'],
      ['DELETE', `/v1/uploads/${id}`],
      ['DELETE', `/files/${id}`, TUS],
      ['DELETE', `/v1/uploads/${id}/chunks/0`],
      ['POST', '/files', length],
      ['POST', '/files', { ...TUS, 'Upload-Concat': `final;/files/${id}` }],
      ['POST', '/v1/uploads/init', { 'Content-Type': 'application/json' }],
      ['POST', `/v1/uploads/${id}/links`],
      ['POST', `/v1/uploads/${id}/tokens`],
      ['POST', '/v1/admin/cleanup'],
    ]
    for (const [method, path, headers = {}] of tries)
      expect([method, path, (await holder(method, path, { headers })).status]).toEqual([method, path, 403])
    expect(await download(url, `/files/${id}`)).toEqual(BYTES)
  })

  test('is nobody with any part of the token changed', async () => {
    const id = await createByTus(call, BYTES.length)
    const other = await createByTus(call, BYTES.length)
    const { token } = await makeToken(call, id, { expires_in: 600 })
    const [purpose, key, , ends, proof = ''] = token.split('.')
    const changed = [
      ['upload2', key, id, ends, proof],
      ['link1', key, id, ends, proof],
      [purpose, `${key}x`, id, ends, proof],
      [purpose, key, id, String(Number(ends) + 1), proof],
      [purpose, key, id, '0', proof],
      [purpose, key, id, proof],
      [purpose, key, id, ends, 'x', proof],
      [purpose, key, id, ends, 'A'.repeat(43)],
      [purpose, key, id, ends, `${proof}=`],
      [purpose, key, id, ends, proof.slice(0, -1)],
      [purpose, key, id, ends],
    ].map((parts) => parts.join('.'))
    for (const wrong of changed) expect([wrong, await statusWith(url, id, wrong)]).toEqual([wrong, 401])
    // Made for the other one, it would count there.
    expect(await statusWith(url, other, [purpose, key, other, ends, proof].join('.'))).toBe(401)
    expect(await statusWith(url, id, token)).toBe(200)
  })

  test('is nobody with a link in place of a token', async () => {
    const id = await createByTus(call, BYTES.length)
    const { json } = await call('POST', `/v1/uploads/${id}/links`)
    expect(await statusWith(url, id, json.url.split('/').at(-1))).toBe(401)
  })

  test('is less than the user of a key, where both come', async () => {
    const id = await createByTus(call, BYTES.length)
    const { token } = await makeToken(call, id)
    const both = (key: string) => clientOf(url, key)('GET', `/v1/uploads/${id}`, { headers: bearer(token) })
    expect([(await both(ALICE)).status, (await both(BOB)).status]).toEqual([200, 403])
  })

  test('finds nothing once the upload is deleted', async () => {
    const id = await createByTus(call, BYTES.length)
    const { token } = await makeToken(call, id)
    await call('DELETE', `/files/${id}`, { headers: TUS })
    expect(await statusWith(url, id, token)).toBe(404)
    expect((await holderOf(url, token)('HEAD', `/files/${id}`, { headers: TUS })).status).toBe(404)
    expect((await call('POST', `/v1/uploads/${id}/tokens`)).status).toBe(404)
  })
})

describe('a token', () => {
  test('that was given a time ends with it, and not before', async () => {
    const { url } = await useServer()
    const call = clientOf(url)
    const id = await createByTus(call, BYTES.length)
    const { token, expires_at: end } = await makeToken(call, id, { expires_in: 600 })
    const secondsLeft = (Date.parse(end) - Date.now()) / 1000
    expect(secondsLeft).toBeGreaterThan(540)
    expect(secondsLeft).toBeLessThanOrEqual(600)
    clock.move(secondsLeft - 1)
    expect(await statusWith(url, id, token)).toBe(200)
    clock.move(2)
    const late = await holderOf(url, token)('GET', `/v1/uploads/${id}`)
    expect([late.status, late.json.error_code]).toEqual([401, 'missing_api_key'])
    expect((await holderOf(url, token)('HEAD', `/files/${id}`, { headers: TUS })).status).toBe(401)
    for (const expiresIn of [0, -1, 1.5, '60', 315_360_001]) {
      const answer = await call('POST', `/v1/uploads/${id}/tokens`, { body: { expires_in: expiresIn } })
      expect([answer.status, answer.json.detail]).toEqual([422, expect.stringMatching(/^expires_in: /)])
    }
  })

  test('that was given none lives with its upload, which every byte prolongs', async () => {
    const { url } = await useServer()
    const call = clientOf(url)
    const id = await createByTus(call, BYTES.length)
    const { token, expires_at: end } = await makeToken(call, id)
    expect(end).toBe((await call('GET', `/v1/uploads/${id}`)).json.expires_at)
    const holder = holderOf(url, token)
    for (const offset of [0, 1, 2]) {
      clock.move(0.9 * DAY)
      const patch = await holder('PATCH', `/files/${id}`, { headers: patchAt(offset), body: 'x' })
      expect(patch.status).toBe(204)
    }
    expect(Date.now()).toBeGreaterThan(Date.parse(end))
    await holder('PATCH', `/files/${id}`, { headers: patchAt(3), body: BYTES.subarray(3) })
    // Who lost the answer to the last request can still ask.
    clock.move(0.9 * DAY)
    expect(await offsetOf(holder, id)).toBe(BYTES.length)
    clock.move(0.2 * DAY)
    expect(await statusWith(url, id, token)).toBe(401)
    expect((await call('GET', `/v1/uploads/${id}`)).status).toBe(200)
  })

  test('goes on where the clock jumps ahead, as its upload does', async () => {
    const { url } = await useServer()
    const call = clientOf(url)
    const id = await createByTus(call, BYTES.length)
    const { token } = await makeToken(call, id)
    clock.move(3 * DAY)
    const patch = await holderOf(url, token)('PATCH', `/files/${id}`, { headers: patchAt(0), body: BYTES })
    expect(patch.status).toBe(204)
  })

  test('says that its upload has expired', async () => {
    const { url } = await useServer({ UPLOAD_TTL_SECONDS: '1' })
    const call = clientOf(url)
    const id = await createByTus(call, BYTES.length)
    const { token } = await makeToken(call, id)
    await vi.waitFor(async () => expect(await statusWith(url, id, token)).toBe(410), { timeout: 20_000 })
    expect((await call('POST', `/v1/uploads/${id}/tokens`)).status).toBe(410)
  })

  test('can not be had for an upload that takes no more bytes', async () => {
    const { url } = await useServer()
    const call = clientOf(url)
    const id = await createByTus(call, 0)
    const answer = await call('POST', `/v1/uploads/${id}/tokens`)
    expect([answer.status, answer.json.error_code]).toEqual([409, 'conflict'])
    expect(answer.json.detail).toContain('COMPLETED')
  })

  test('outlives the key that it was made by, and a restart', async () => {
    const root = await useFolder()
    const before = await startTestServer({}, root)
    const call = clientOf(before.url)
    const id = await createByTus(call, BYTES.length)
    const { token } = await makeToken(call, id)
    await before.close()
    const after = await startTestServer({ API_KEY_MAPPINGS: `${BOB}:bob` }, root)
    try {
      expect((await clientOf(after.url)('HEAD', `/files/${id}`, { headers: TUS })).status).toBe(401)
      const sent = { headers: patchAt(0), body: BYTES }
      expect((await holderOf(after.url, token)('PATCH', `/files/${id}`, sent)).status).toBe(204)
    } finally {
      await after.close()
    }
  })

  test.each(['jwt', 'hybrid'])('counts beside those of users in AUTH_MODE %s', async (mode) => {
    const { url } = await useServer({ AUTH_MODE: mode, JWT_SECRET })
    const user = clientOf(url, null)
    const as = (name: string) => ({ headers: bearer(tokenFor(name)) })
    const created = await user('POST', '/files', {
      headers: { ...TUS, ...bearer(tokenFor('ada')), 'Upload-Length': '5' },
    })
    const id = created.headers.get('location')?.split('/').at(-1) ?? ''
    const { json } = await user('POST', `/v1/uploads/${id}/tokens`, as('ada'))
    const holder = holderOf(url, json.token)
    expect((await user('POST', `/v1/uploads/${id}/tokens`, as('eve'))).status).toBe(403)
    expect((await holder('PATCH', `/files/${id}`, { headers: patchAt(0), body: 'hello' })).status).toBe(204)
    expect((await holder('GET', `/files/${id}`)).status).toBe(403)
    expect(await statusWith(url, id, `${json.token}x`)).toBe(401)
  })

  test('does not get into the log, which names the owner', async () => {
    const { url, lines } = await useServer({ LOG_LEVEL: 'trace' })
    const call = clientOf(url)
    const id = await createByTus(call, BYTES.length)
    const { token } = await makeToken(call, id, { expires_in: 600 })
    await offsetOf(holderOf(url, token), id)
    await holderOf(url, token)('DELETE', `/files/${id}`, { headers: TUS })
    clock.move(601)
    await statusWith(url, id, token)
    await vi.waitFor(() => expect(lines.some(({ status }) => status === 401)).toBe(true))
    expect(lines).toContainEqual(expect.objectContaining({ method: 'HEAD', user: 'alice', upload_id: id }))
    expect(JSON.stringify(lines)).not.toContain('upload1.')
    expect(JSON.stringify(lines)).not.toContain(token.split('.').at(-1))
  })
})

describe('who holds a token is counted', () => {
  test('as the owner, whose limit of requests all of their tokens share', async () => {
    const { url } = await useServer({ API_RATE_LIMIT_PER_MINUTE: '4' })
    const call = clientOf(url)
    const ids = [await createByTus(call, 5), await createByTus(call, 5)]
    const [a, b] = [await makeToken(call, ids[0] ?? ''), await makeToken(call, ids[1] ?? '')]
    const statuses: number[] = []
    for (const { token, upload_id: id } of [a, b, a, b, a]) statuses.push(await statusWith(url, id, token))
    expect(statuses).toEqual([200, 200, 200, 200, 429])
    const late = await holderOf(url, a.token)('HEAD', `/files/${a.upload_id}`, { headers: TUS })
    expect(late.status).toBe(423)
    expect((await clientOf(url, BOB)('GET', '/v1/uploads')).status).toBe(200)
  })

  test('within the quota of the owner', async () => {
    const { url } = await useServer({ MAX_BYTES_PER_USER: '20' })
    const call = clientOf(url)
    const created = await call('POST', '/files', { headers: { ...TUS, 'Upload-Defer-Length': '1' } })
    const id = created.headers.get('location')?.split('/').at(-1) ?? ''
    const { token } = await makeToken(call, id)
    const patch = await holderOf(url, token)('PATCH', `/files/${id}`, { headers: patchAt(0), body: BYTES })
    expect(patch.status).toBe(413)
  })

  test('by address when the token is wrong, and a right one passes all the same', async () => {
    const { url } = await useServer({ AUTH_FAILURES_PER_MINUTE: '2' })
    const call = clientOf(url)
    const id = await createByTus(call, 5)
    const { token } = await makeToken(call, id)
    const statuses: number[] = []
    for (const wrong of ['a', 'b', 'a', 'c']) statuses.push(await statusWith(url, id, token + wrong))
    expect(statuses).toEqual([401, 401, 401, 429])
    expect(await statusWith(url, id, token)).toBe(200)
  })

  test('not as a guess where it is right but not enough', async () => {
    const { url } = await useServer({ AUTH_FAILURES_PER_MINUTE: '1' })
    const call = clientOf(url)
    const id = await createByTus(call, 5)
    const { token } = await makeToken(call, id)
    for (let times = 0; times < 3; times++)
      expect((await holderOf(url, token)('GET', '/v1/uploads')).status).toBe(403)
    expect((await clientOf(url, 'no-such-key')('GET', '/v1/uploads')).status).toBe(401)
  })
})

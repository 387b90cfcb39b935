import { expect, describe, test } from 'vitest'
import { initiate } from '../support/chunks.ts'
import { clientOf, patchAt, TUS, type Answer } from '../support/client.ts'
import { ALICE, BOB, useServer } from '../support/server.ts'
import { slowRequest } from '../support/slow-request.ts'
import { bearer, JWT_SECRET, tokenFor } from '../support/tokens.ts'

const limitedBy = (answer: Answer): string | null => {
  expect(answer.headers.get('retry-after')).toBe('60')
  return answer.headers.get('x-ratelimit-reason')
}

describe('API_RATE_LIMIT_PER_MINUTE', () => {
  test('lets exactly so many requests of a key pass, however many come at once, and those of another key', async () => {
    const { url } = await useServer({ API_RATE_LIMIT_PER_MINUTE: '20' })
    const call = clientOf(url)
    const answers = await Promise.all(Array.from({ length: 50 }, () => call('GET', '/v1/uploads')))
    const refused = answers.filter(({ status }) => status !== 200)
    expect(answers.length - refused.length).toBe(20)
    for (const answer of refused) {
      expect([answer.status, answer.json.error_code]).toEqual([429, 'throttled'])
      expect(limitedBy(answer)).toBe('api_key_rate_limit')
    }
    expect((await clientOf(url, BOB)('GET', '/v1/uploads')).status).toBe(200)
    expect((await call('GET', '/metrics')).text).toContain(
      'throttled_requests_total{reason="api_key_rate_limit"} 30',
    )
  })

  test('is 503 on tus routes, but 423 on HEAD, and nothing of the body is taken', async () => {
    const { url } = await useServer({ API_RATE_LIMIT_PER_MINUTE: '1' })
    const id = await initiate(clientOf(url))
    const call = clientOf(url)
    const patch = slowRequest(url, 'PATCH', `/files/${id}`, {
      ...patchAt(0),
      'Content-Length': '1000000',
      Expect: '100-continue',
    })
    let told = false
    patch.req.on('continue', () => (told = true))
    const answer = await patch.answer
    expect([answer.status, answer.headers['retry-after'], answer.headers['x-ratelimit-reason']]).toEqual([
      503,
      '60',
      'api_key_rate_limit',
    ])
    expect(told).toBe(false)
    patch.cut()
    expect((await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '1' } })).status).toBe(503)
    expect((await call('HEAD', `/files/${id}`, { headers: TUS })).status).toBe(423)
    expect((await call('DELETE', `/v1/uploads/${id}`)).status).toBe(429)
  })

  test('counts each key of a user for itself, and all tokens of a user together', async () => {
    const { url } = await useServer({
      API_RATE_LIMIT_PER_MINUTE: '1',
      API_KEY_MAPPINGS: 'one:ada,two:ada',
      AUTH_MODE: 'hybrid',
      JWT_SECRET,
    })
    const status = async (headers: Record<string, string>) =>
      (await clientOf(url, null)('GET', '/v1/uploads', { headers })).status
    expect([await status({ 'X-API-Key': 'one' }), await status({ 'X-API-Key': 'two' })]).toEqual([200, 200])
    expect([await status({ 'X-API-Key': 'one' }), await status(bearer('two'))]).toEqual([429, 429])
    expect(await status(bearer(tokenFor('ada')))).toBe(200)
    expect(await status(bearer(tokenFor('ada', { jti: 'another' })))).toBe(429)
    expect(await status(bearer(tokenFor('eve')))).toBe(200)
  })

  test('leaves alone what needs no key', async () => {
    const { url } = await useServer({ API_RATE_LIMIT_PER_MINUTE: '1' })
    const call = clientOf(url)
    for (const path of ['/health', '/ready', '/version', '/metrics'])
      for (let i = 0; i < 3; i++) expect((await call('GET', path)).status).toBe(200)
    for (let i = 0; i < 3; i++) expect((await call('OPTIONS', '/files')).status).toBe(204)
  })
})

describe('AUTH_FAILURES_PER_MINUTE', () => {
  const guess = (url: string, key: string | null, headers: Record<string, string> = {}) =>
    clientOf(url, key)('GET', '/v1/uploads', { headers })
  const guessAll = async (url: string, count: number, headers?: Record<string, string>) =>
    (await Promise.all(Array.from({ length: count }, (_, i) => guess(url, `guess ${i}`, headers)))).map(
      ({ status }) => status,
    )

  test('so many different wrong keys are 401, and the next one is 429', async () => {
    const { url } = await useServer()
    expect(await guessAll(url, 30)).toEqual(Array.from({ length: 30 }, () => 401))
    const next = await guess(url, 'another guess')
    expect([next.status, next.json.error_code]).toEqual([429, 'throttled'])
    expect(limitedBy(next)).toBe('auth_failure_limit')
    expect((await guess(url, null, bearer('one-more'))).status).toBe(429)
    const tus = await clientOf(url, 'and by tus')('HEAD', `/files/${crypto.randomUUID()}`, { headers: TUS })
    expect(tus.status).toBe(423)
    expect((await clientOf(url)('GET', '/metrics')).text).toContain(
      'throttled_requests_total{reason="auth_failure_limit"} 3',
    )
  })

  test('a valid key from the same address passes all the same, and so does who has none: with 401', async () => {
    const { url } = await useServer({ AUTH_FAILURES_PER_MINUTE: '1' })
    expect((await guessAll(url, 3)).toSorted((a, b) => a - b)).toEqual([401, 429, 429])
    expect((await guess(url, ALICE)).status).toBe(200)
    expect((await guess(url, null)).status).toBe(401)
  })

  test('a client that comes with one stale key again and again has guessed once', async () => {
    const { url } = await useServer({ AUTH_FAILURES_PER_MINUTE: '2' })
    for (let i = 0; i < 5; i++) expect((await guess(url, 'stale')).status).toBe(401)
    expect((await guess(url, 'another')).status).toBe(401)
    expect((await guess(url, 'a third')).status).toBe(429)
    expect((await guess(url, 'stale')).status).toBe(401)
  })

  test('wrong tokens are counted with wrong keys', async () => {
    const { url } = await useServer({ AUTH_FAILURES_PER_MINUTE: '1', AUTH_MODE: 'hybrid', JWT_SECRET })
    expect((await guess(url, null, bearer(`${tokenFor('alice')}x`))).status).toBe(401)
    expect((await guess(url, null, bearer(`${tokenFor('bob')}x`))).status).toBe(429)
    expect((await guess(url, null, bearer(tokenFor('alice')))).status).toBe(200)
  })

  test('an address that the client tells itself is not believed', async () => {
    const { url } = await useServer({ AUTH_FAILURES_PER_MINUTE: '1' })
    expect((await guess(url, 'a', { 'X-Forwarded-For': '192.0.2.1' })).status).toBe(401)
    expect((await guess(url, 'b', { 'X-Forwarded-For': '192.0.2.2' })).status).toBe(429)
  })

  test('behind a trusted proxy each of its clients is counted, by the address that the proxy adds last', async () => {
    const { url } = await useServer({ AUTH_FAILURES_PER_MINUTE: '1', TRUST_PROXY: 'true' })
    const from = async (key: string, addresses: string) =>
      (await guess(url, key, { 'X-Forwarded-For': addresses })).status
    expect([await from('a', '192.0.2.1'), await from('b', '192.0.2.2')]).toEqual([401, 401])
    expect(await from('c', '203.0.113.9, 192.0.2.1')).toBe(429)
    expect(await from('d', '203.0.113.10, 192.0.2.2')).toBe(429)
  })

  test('0 is no limit', async () => {
    const { url } = await useServer({ AUTH_FAILURES_PER_MINUTE: '0' })
    expect(new Set(await guessAll(url, 50))).toEqual(new Set([401]))
  })
})

import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { clientOf, patchAt, TUS, type Client } from '../support/client.ts'
import { ALICE, BOB, startTestServer, useServer } from '../support/server.ts'
import { bearer, hmac, inSeconds, JWT_SECRET, rsaSignature, tokenFor, tokenOf } from '../support/tokens.ts'

const unlimited = { AUTH_FAILURES_PER_MINUTE: '0' }
const statusWith = async (url: string, headers: Record<string, string>) =>
  (await clientOf(url, null)('GET', '/v1/uploads', { headers })).status

const later = inSeconds(3600)
const claims = { sub: 'alice', exp: later, aud: 'uploads', iss: 'https://id.example' }
const without = (name: keyof typeof claims) => ({ ...claims, [name]: undefined })

describe('a token', () => {
  let url: string
  let stranger: Client
  beforeAll(async () => {
    const server = await startTestServer({
      ...unlimited,
      AUTH_MODE: 'jwt',
      JWT_SECRET,
      JWT_AUDIENCE: 'uploads',
      JWT_ISSUER: 'https://id.example',
    })
    url = server.url
    stranger = clientOf(url, null)
    return () => server.close()
  })

  test.each([
    ['that says what it must', claims],
    ['for several audiences', { ...claims, aud: ['mail', 'uploads'] }],
    ['that has just expired, by a clock that goes a little fast', { ...claims, exp: inSeconds(-2) }],
    ['that is not yet valid, by a clock that goes a little slow', { ...claims, nbf: inSeconds(2) }],
    ['of a user with an unusual name', { ...claims, sub: 'auth0|Zoë König+1@example.com' }],
    ['of a user with the longest name', { ...claims, sub: 'a'.repeat(255) }],
  ])('%s counts', async (_what, payload) => {
    expect(await statusWith(url, bearer(tokenOf(payload)))).toBe(200)
  })

  const others = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwk = others.publicKey.export({ format: 'jwk' })
  test.each<[string, string]>([
    ['nothing', ''],
    ['no token', 'x'],
    ['the well-known key', 'dev-key'],
    ['an API key', ALICE],
    ['no signature', tokenOf(claims, { alg: 'none' }, () => Buffer.alloc(0))],
    ['no signature, in capitals', tokenOf(claims, { alg: 'NONE' }, () => Buffer.alloc(0))],
    ['alg none and a right HMAC', tokenOf(claims, { alg: 'none' })],
    ['no alg', tokenOf(claims, { typ: 'JWT' })],
    ['an alg that is no text', tokenOf(claims, { alg: ['HS256'] })],
    ['another secret', tokenOf(claims, undefined, hmac('sha256', 'another'))],
    ['the right secret under another alg', tokenOf(claims, { alg: 'HS512' }, hmac('sha512', JWT_SECRET))],
    ['an alg of public keys', tokenOf(claims, { alg: 'RS256' }, rsaSignature(others.privateKey))],
    [
      'the key that it is signed with',
      tokenOf(claims, { alg: 'RS256', jwk }, rsaSignature(others.privateKey)),
    ],
    ['a shorter signature', tokenOf(claims).slice(0, -4)],
    ['two parts', tokenOf(claims).split('.').slice(0, 2).join('.')],
    ['four parts', `${tokenOf(claims)}.x`],
    ['a changed claim', changed(tokenOf(claims), { ...claims, sub: 'bob' })],
    ['a header that must be understood', tokenOf(claims, { alg: 'HS256', crit: ['x'], x: 1 })],
    ['claims that are no JSON', tokenOf('sub=alice')],
    ['claims that are a list', tokenOf('["sub","alice"]')],
    ['an exp in the past', tokenOf({ ...claims, exp: inSeconds(-60) })],
    ['no exp', tokenOf(without('exp'))],
    ['an exp in words', tokenOf({ ...claims, exp: String(later) })],
    ['an nbf in the future', tokenOf({ ...claims, nbf: inSeconds(60) })],
    ['no sub', tokenOf(without('sub'))],
    ['a number for sub', tokenOf({ ...claims, sub: 7 })],
    ['an empty sub', tokenOf({ ...claims, sub: '' })],
    ['a sub of blanks', tokenOf({ ...claims, sub: '  ' })],
    ['a sub with a blank at its end', tokenOf({ ...claims, sub: 'alice ' })],
    ['a sub of two lines', tokenOf({ ...claims, sub: 'alice\nbob' })],
    ['a sub with a NUL', tokenOf({ ...claims, sub: 'alice\0' })],
    ['a sub that turns text around', tokenOf({ ...claims, sub: 'alice\u202ebob' })],
    ['a sub that is too long', tokenOf({ ...claims, sub: 'a'.repeat(256) })],
    ['another audience', tokenOf({ ...claims, aud: 'mail' })],
    ['no audience', tokenOf(without('aud'))],
    ['another issuer', tokenOf({ ...claims, iss: 'https://id.example/' })],
    ['no issuer', tokenOf(without('iss'))],
    ['much more than a token has', tokenOf({ ...claims, more: 'x'.repeat(10_000) })],
  ])('with %s is 401, with the one answer that all of them get', async (_what, token) => {
    const answer = await stranger('GET', '/v1/uploads', { headers: bearer(token) })
    const nobody = await stranger('GET', '/v1/uploads')
    const told = ({ status, headers, json }: typeof answer) => ({
      status,
      challenge: headers.get('www-authenticate'),
      json: { ...json, request_id: null },
    })
    expect(told(answer)).toEqual(told(nobody))
    expect(answer.status).toBe(401)
    expect(answer.json.error_code).toBe('missing_api_key')
  })

  test('is a bearer in Authorization and stands nowhere else', async () => {
    const token = tokenOf(claims)
    expect(await statusWith(url, { 'X-API-Key': token })).toBe(401)
    expect(await statusWith(url, { Authorization: token })).toBe(401)
    expect(await statusWith(url, { Authorization: `Basic ${token}` })).toBe(401)
    expect(await statusWith(url, { Cookie: `token=${token}` })).toBe(401)
    expect((await stranger('GET', `/v1/uploads?access_token=${token}`)).status).toBe(401)
    expect(await statusWith(url, { Authorization: `bearer  ${token}` })).toBe(200)
  })

  test('makes its sub the owner, in both dialects, and nobody else may come near', async () => {
    const as = (sub: string, headers: Record<string, string> = {}) => ({
      headers: { ...bearer(tokenOf({ ...claims, sub })), ...headers },
    })
    const { headers } = await stranger('POST', '/files', as('ada', { ...TUS, 'Upload-Length': '5' }))
    const path = new URL(headers.get('location') ?? '').pathname
    const id = path.split('/').at(-1)
    expect((await stranger('PATCH', path, { ...as('eve', patchAt(0)), body: 'hello' })).status).toBe(403)
    expect((await stranger('PATCH', path, { ...as('ada', patchAt(0)), body: 'hello' })).status).toBe(204)
    expect((await stranger('GET', `/v1/uploads/${id}`, as('ada'))).json.status).toBe('COMPLETED')
    expect((await stranger('GET', `/v1/uploads/${id}/download`, as('eve'))).status).toBe(403)
    expect((await stranger('GET', `/v1/uploads/${id}/download`, as('ada'))).text).toBe('hello')
  })
})

/** The token with other claims, and the signature of its own. */
function changed(token: string, claims: object): string {
  const [header, , signature] = token.split('.')
  return `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`
}

describe('with a public key', () => {
  const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = pair.publicKey.export({ format: 'pem', type: 'spki' }).toString()
  const env = { ...unlimited, AUTH_MODE: 'jwt', JWT_ALGORITHM: 'RS256', JWT_SECRET: pem }
  const payload = { sub: 'alice', exp: later }

  test('a token of its private key counts, and one that takes the public key for a secret does not', async () => {
    const { url } = await useServer(env)
    const token = (header: object, signature: (signed: string) => Uint8Array) =>
      bearer(tokenOf(payload, header, signature))
    expect(await statusWith(url, token({ alg: 'RS256' }, rsaSignature(pair.privateKey)))).toBe(200)
    const spki = createPublicKey(pem).export({ format: 'der', type: 'spki' })
    for (const secret of [pem, pem.trim(), spki.toString('base64'), spki.toString('latin1')])
      expect(await statusWith(url, token({ alg: 'HS256' }, hmac('sha256', secret)))).toBe(401)
    for (const alg of ['RS384', 'PS256', 'none'])
      expect(await statusWith(url, token({ alg }, rsaSignature(pair.privateKey)))).toBe(401)
  })
})

test.each([
  ['api_key', { key: 200, bearerKey: 200, token: 401 }],
  ['jwt', { key: 401, bearerKey: 401, token: 200 }],
  ['hybrid', { key: 200, bearerKey: 200, token: 200 }],
])('AUTH_MODE %s takes these: %j', async (mode, expected) => {
  const { url } = await useServer({ AUTH_MODE: mode, JWT_SECRET })
  expect({
    key: await statusWith(url, { 'X-API-Key': ALICE }),
    bearerKey: await statusWith(url, bearer(ALICE)),
    token: await statusWith(url, bearer(tokenFor('alice'))),
  }).toEqual(expected)
  expect(await statusWith(url, { 'X-API-Key': 'wrong' })).toBe(401)
  expect(await statusWith(url, bearer('wrong'))).toBe(401)
  expect(await statusWith(url, {})).toBe(401)
})

describe('AUTH_MODE hybrid', () => {
  const env = { AUTH_MODE: 'hybrid', JWT_SECRET }

  test('the sub of a token and the user of a key are one user', async () => {
    const { url } = await useServer(env)
    const [byKey, byToken] = [clientOf(url), clientOf(url, null)]
    const { json } = await byKey('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 5 } })
    const path = `/v1/uploads/${json.upload_id}`
    expect((await byToken('GET', path, { headers: bearer(tokenFor('alice')) })).status).toBe(200)
    expect((await byToken('GET', path, { headers: bearer(tokenFor('bob')) })).status).toBe(403)
  })

  test('the key in X-API-Key counts, whatever stands in Authorization', async () => {
    const { url } = await useServer(env)
    expect(await statusWith(url, { 'X-API-Key': BOB, ...bearer('nonsense') })).toBe(200)
    expect(await statusWith(url, { 'X-API-Key': 'wrong', ...bearer(tokenFor('alice')) })).toBe(401)
  })
})

test('the log tells why a token was refused, and shows neither it nor a key', async () => {
  const { url, lines } = await useServer({ AUTH_MODE: 'hybrid', JWT_SECRET, LOG_LEVEL: 'trace' })
  const expired = tokenFor('alice', { exp: inSeconds(-60) })
  await statusWith(url, bearer(expired))
  await statusWith(url, { 'X-API-Key': 'a-wrong-key' })
  await statusWith(url, bearer(tokenFor('alice')))
  const told = lines.filter(({ route }) => route === '/v1/uploads')
  expect(told.map(({ status, reason }) => [status, reason])).toEqual([
    [401, 'ERR_JWT_EXPIRED'],
    [401, undefined],
    [200, undefined],
  ])
  const text = JSON.stringify(lines)
  for (const secret of [expired, 'a-wrong-key', JWT_SECRET, ALICE]) expect(text).not.toContain(secret)
})

import { Validator } from '@seriousme/openapi-schema-validator'
import request from 'supertest'
import { describe, expect, test } from 'vitest'
import { GROUPS } from '../../src/http/api/groups.ts'
import { nobody } from '../../src/http/guards.ts'
import { clientOf } from '../support/client.ts'
import { document, operations, table } from '../support/openapi/document.ts'
import { judgeAnswer, type SeenAnswer } from '../support/openapi/judge.ts'
import { failuresOf } from '../support/openapi/schema.ts'
import { useReceiver, webhookEnv } from '../support/receiver.ts'
import { useServer } from '../support/server.ts'
import { createByTus } from '../support/uploading.ts'

const rows = table.map(([method, path]) => `${method} ${path}`)

test('every route is described, and every description has a route', () => {
  const described = GROUPS.flatMap((group) => Object.keys(group.operations))
  expect(described.toSorted()).toEqual(rows.toSorted())
  expect(rows.filter((row) => !operations.get(row))).toEqual([])
})

test('every operation has a name of its own', () => {
  const names = Object.values(document.paths).flatMap((item) =>
    Object.values(item).map(({ operationId }) => operationId),
  )
  expect(names).toHaveLength(new Set(names).size)
})

test('a key is asked for exactly where the table has a guard, unless the path itself is the secret', () => {
  const open = rows.filter((row) => operations.get(row)?.security.length === 0)
  const unguarded = table
    .filter(([, path, who]) => who === nobody || path.includes(':token'))
    .map(([method, path]) => `${method} ${path}`)
  expect(open.toSorted()).toEqual(unguarded.toSorted())
})

test('the document is valid OpenAPI 3.1', async () => {
  const validator = new Validator()
  const { valid, errors } = await validator.validate(JSON.parse(JSON.stringify(document)))
  expect({ valid, errors }).toEqual({ valid: true, errors: undefined })
  expect(validator.version).toBe('3.1')
})

test('/openapi.json is that document, and 304 to who has it already', async () => {
  const { url } = await useServer()
  const call = clientOf(url, null)
  const answer = await call('GET', '/openapi.json')
  expect(answer.json).toEqual({
    ...JSON.parse(JSON.stringify(document)),
    info: { ...answer.json.info, version: '0.0.0-test' },
  })
  // By fetch, a condition would come with Cache-Control: no-cache, which asks for the whole.
  await request(url)
    .get('/openapi.json')
    .set('If-None-Match', answer.headers.get('etag') ?? '')
    .expect(304, '')
})

test('the page of the reference lets nothing in from elsewhere, and what it names is there', async () => {
  const { url } = await useServer()
  const call = clientOf(url, null)
  const { headers, text } = await call('GET', '/docs')
  const policy = headers.get('content-security-policy') ?? ''
  expect(policy).toMatch(/^default-src 'none'; script-src 'self';/)
  expect(policy).not.toMatch(/https?:|unsafe-eval/)
  const named = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, name = '']) => name)
  expect(named.filter((name) => name.startsWith('/') || /^https?:/.test(name))).toEqual([])
  for (const name of named.filter((name) => !name.startsWith('data:')))
    expect([name, (await call('GET', `/${name}`)).status]).toEqual([name, 200])
})

test('init takes and refuses the fields that the document allows and forbids', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const schema = { $ref: '#/components/schemas/InitRequest' }
  const file = { file_name: 'a', file_size: 5 }
  const bodies: object[] = [
    file,
    { ...file, chunk_size: null, content_type: 'text/plain', metadata: { a: [1] } },
    { ...file, file_checksum_sha256: 'a'.repeat(64) },
    { ...file, chunk_size: 0 },
    { ...file, file_size: -1 },
    { ...file, file_size: 1.5 },
    { ...file, file_size: 2 ** 53 },
    { ...file, file_size: '5' },
    { ...file, file_name: '' },
    { ...file, file_name: 'a'.repeat(1025) },
    { ...file, file_checksum_sha256: 'abc' },
    { ...file, metadata: 'a' },
    { file_name: 'a' },
    { file_size: 5 },
  ]
  for (const body of bodies) {
    const allowed = failuresOf(schema, body).length === 0
    expect([body, (await call('POST', '/v1/uploads/init', { body })).status]).toEqual([
      body,
      allowed ? 201 : 422,
    ])
  }
})

test('an event by webhook has the headers and the fields that the document describes', async () => {
  const receiver = await useReceiver()
  const { url } = await useServer(webhookEnv(receiver))
  await createByTus(clientOf(url), 5)
  await receiver.until(1)
  const [{ event, headers } = { event: {}, headers: {} }] = receiver.received
  expect(failuresOf({ $ref: '#/components/schemas/UploadEvent' }, event)).toEqual([])
  const described = document.webhooks['uploadEvent']?.['post']?.parameters.map(({ name }) => name)
  expect(described?.toSorted()).toEqual(
    Object.keys(headers)
      .filter((name) => name.startsWith('webhook-'))
      .toSorted(),
  )
})

describe('the judge of answers finds', () => {
  const version: SeenAnswer = {
    method: 'GET',
    url: '/version',
    route: '/version',
    asked: {},
    status: 200,
    headers: { 'x-request-id': 'r', 'content-type': 'application/json; charset=utf-8' },
    body: '{"version":"1"}',
  }
  const without = { ...version, headers: { 'content-type': 'application/json' } }

  test('nothing in an answer as it is described', () => {
    expect(judgeAnswer(version)).toEqual([])
    expect(judgeAnswer({ ...version, method: 'HEAD', body: '' })).toEqual([])
  })

  test.each<[string, SeenAnswer, RegExp]>([
    ['a status that is not described', { ...version, status: 418 }, /status is not described/],
    ['a field that is not described', { ...version, body: '{"version":"1","more":1}' }, /additional/],
    ['a field that is missing', { ...version, body: '{}' }, /required property 'version'/],
    ['a field of another type', { ...version, body: '{"version":1}' }, /must be string/],
    [
      'a body of another type',
      { ...version, headers: { ...version.headers, 'content-type': 'text/html' } },
      /text\/html/,
    ],
    [
      'a header that is not described',
      { ...version, headers: { ...version.headers, 'x-more': '1' } },
      /x-more/,
    ],
    ['a header that is missing', without, /x-request-id is missing/],
    [
      'an error of another code than belongs to the status',
      {
        ...version,
        route: '/ready',
        status: 503,
        headers: { ...version.headers, 'retry-after': '1' },
        body: JSON.stringify({
          detail: '',
          error_code: 'gone',
          request_id: 'r',
          upload_id: null,
          trace_id: null,
        }),
      },
      /allowed values/,
    ],
    [
      'an event that is not described, in a stream',
      {
        ...version,
        method: 'GET',
        route: '/v1/events',
        headers: {
          ...version.headers,
          'content-type': 'text/event-stream; charset=utf-8',
          'cache-control': 'no-store',
          'x-content-type-options': 'nosniff',
          'x-accel-buffering': 'no',
        },
        body: ':\n\nevent: ready\ndata: {"has_more":false}\n\nevent: news\ndata: {}\n\n',
      },
      /^GET \S+ answered 200: the event news is not described$/,
    ],
    ['a success where there is no route', { ...version, route: null }, /nothing describes/],
    ['a route that nobody has described', { ...version, route: '/new' }, /nothing describes/],
  ])('%s', (_what, answer, offence) => {
    expect(judgeAnswer(answer).join()).toMatch(offence)
  })
})

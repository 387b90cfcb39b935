import { rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import request from 'supertest'
import { expect, test } from 'vitest'
import { clientOf, patchAt, TUS } from '../support/client.ts'
import { ALICE, useServer } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'

test('/health, /ready and /version answer without a key', async () => {
  const { url } = await useServer()
  await request(url).get('/health').expect(200, { status: 'ok' })
  await request(url).get('/ready').expect(200, { status: 'ready' })
  await request(url).get('/version').expect(200, { version: '0.0.0-test' })
})

test('/ready is 503 with Retry-After while the storage is away, and 200 when it is back', async () => {
  const { url, root } = await useServer()
  const files = path.join(root, 'files')
  await request(url).get('/ready').expect(200)
  await rename(files, `${files}-away`)
  const answer = await request(url).get('/ready').expect(503)
  expect(answer.body.error_code).toBe('unavailable')
  expect(answer.headers['retry-after']).toBe('1')
  await request(url).get('/health').expect(200)
  await rename(`${files}-away`, files)
  await request(url).get('/ready').expect(200)
})

test('bytes that the storage does not take are 503 natively, and the log says why', async () => {
  const { url, root, lines } = await useServer()
  const { body } = await request(url)
    .post('/v1/uploads/init')
    .set('X-API-Key', ALICE)
    .send({ file_name: 'a', file_size: 5 })
    .expect(201)
  const files = path.join(root, 'files')
  await request(url).get('/ready').expect(200)
  await rename(files, `${files}-away`)
  await writeFile(files, 'a file where the folder was')
  const put = () => clientOf(url)('PUT', `/v1/uploads/${body.upload_id}/chunks/0`, { body: 'hello' })
  const refused = await put()
  expect([refused.status, refused.json.error_code]).toEqual([503, 'unavailable'])
  expect(refused.text).not.toContain(root)
  await eventually(() => lines.some((line) => line['status'] === 503), 'the line is written')
  expect(lines.find((line) => line['status'] === 503)).toMatchObject({ err: { code: 'ENOTDIR' } })
  await rm(files)
  await rename(`${files}-away`, files)
  expect((await put()).status).toBe(202)
})

test('/metrics has every fixed name, counts both dialects alike, and labels routes by their pattern', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const { headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '5' } })
  const file = new URL(headers.get('location') ?? '').pathname
  await call('PATCH', file, { headers: patchAt(0), body: 'hello' })
  const { json } = await call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 3 } })
  await call('PUT', `/v1/uploads/${json.upload_id}/chunks/0`, { body: 'abc' })
  await call('GET', '/no/such/route')

  const { text } = await request(url)
    .get('/metrics')
    .expect(200)
    .expect('Content-Type', /^text\/plain/)
  for (const name of [
    'chunks_uploaded_total',
    'bytes_uploaded_total',
    'chunk_upload_failures_total',
    'retries_total',
    'throttled_requests_total',
    'task_queue_depth',
    'inflight_chunks',
    'worker_count',
    'worker_busy_count',
    's3_put_latency_seconds',
    'db_update_latency_seconds',
    'http_request_duration_seconds',
  ])
    expect(text).toContain(`# TYPE ${name} `)
  expect(text).toContain('bytes_uploaded_total{dialect="tus"} 5')
  expect(text).toContain('bytes_uploaded_total{dialect="native"} 3')
  expect(text).toContain('chunks_uploaded_total{dialect="tus"} 1')
  expect(text).toContain('worker_count 16')
  expect(text).toContain(
    'http_request_duration_seconds_count{method="PUT",route="/v1/uploads/:id/chunks/:index",status_code="202"} 1',
  )
  expect(text).toContain('http_request_duration_seconds_count{method="GET",route="*",status_code="404"} 1')
  expect(text).not.toContain(json.upload_id)
  expect(text).not.toContain('no/such')
})

test('/metrics tells the room on the disk, and everything else while the disk is away', async () => {
  const { url, root } = await useServer()
  const freeOf = async () =>
    Number(/^storage_free_bytes (.+)$/m.exec((await request(url).get('/metrics').expect(200)).text)?.[1])
  expect(await freeOf()).toBeGreaterThan(0)
  const files = path.join(root, 'files')
  await rename(files, `${files}-away`)
  await eventually(async () => Number.isNaN(await freeOf()), 'the disk is found to be away')
  await rename(`${files}-away`, files)
  await eventually(async () => (await freeOf()) > 0, 'the disk is found again')
})

test('a method that nobody knows does not make a label of its own', async () => {
  const { url } = await useServer()
  await fetch(`${url}/files`, { method: 'BREW' }).catch(() => undefined)
  await request(url).propfind('/files')
  const { text } = await request(url).get('/metrics')
  expect(text).not.toMatch(/method="(BREW|PROPFIND)"/)
})

test('METRICS_TOKEN fences the metrics', async () => {
  const { url } = await useServer({ METRICS_TOKEN: 'scrape-me' })
  await request(url).get('/metrics').expect(401)
  await request(url).get('/metrics').set('Authorization', 'Bearer wrong').expect(401)
  await request(url).get('/metrics').set('Authorization', 'Bearer scrape-me').expect(200)
})

test('a request is one line in the log, with its id and without a secret', async () => {
  const { url, lines } = await useServer({ LOG_LEVEL: 'info' })
  const before = lines.length
  const call = clientOf(url)
  const { headers } = await call('POST', '/files', {
    headers: {
      ...TUS,
      'Upload-Length': '5',
      'X-Request-ID': 'my-request',
      Authorization: 'Bearer secret-token',
    },
  })
  await eventually(() => lines.length > before, 'the line is written')
  expect(lines.slice(before)).toHaveLength(1)
  expect(lines[before]).toMatchObject({
    request_id: 'my-request',
    method: 'POST',
    route: '/files',
    status: 201,
    user: 'alice',
    upload_id: headers.get('location')?.split('/').at(-1),
    ms: expect.any(Number),
  })
  expect(JSON.stringify(lines)).not.toMatch(/alice-key|secret-token/)
})

test('an unexpected failure is a 500 without a word about it, and the log tells everything', async () => {
  const { url, root, lines } = await useServer()
  const call = clientOf(url)
  const { json } = await call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 3 } })
  await call('PUT', `/v1/uploads/${json.upload_id}/chunks/0`, { body: 'abc' })
  await call('POST', `/v1/uploads/${json.upload_id}/complete`)
  const folder = path.join(root, 'files', json.upload_id.slice(0, 3))
  await rename(folder, `${folder}-away`)
  const answer = await call('GET', `/v1/uploads/${json.upload_id}/download`)
  expect([answer.status, answer.json.error_code]).toEqual([500, 'internal_error'])
  expect(answer.text).not.toMatch(/ENOENT|files/)
  await eventually(() => lines.some((line) => line['status'] === 500), 'the line is written')
  expect(lines.find((line) => line['status'] === 500)).toMatchObject({ level: 50, err: { code: 'ENOENT' } })
})

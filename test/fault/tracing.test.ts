import { createInterface } from 'node:readline'
import { expect, test } from 'vitest'
import { builtServer, preload } from '../support/built-process.ts'
import { patchAt, TUS } from '../support/client.ts'
import { useCollector, type Collector } from '../support/collector.ts'
import { useFolder } from '../support/folder.ts'
import type { ServerProcess } from '../support/process.ts'
import { startS3 } from '../support/s3/server.ts'
import { s3Env } from '../support/s3-env.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const start = builtServer()

/** As an operator sets it, but that spans come at once. */
const tracedTo = ({ url }: Pick<Collector, 'url'>): Record<string, string> => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: url,
  OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
  OTEL_BSP_SCHEDULE_DELAY: '50',
})

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = `00-${TRACE_ID}-00f067aa0ba902b7-01`
const UNSAMPLED = `00-${TRACE_ID}-00f067aa0ba902b7-00`

const PATCH = 'PATCH /files/:id'

/** The log of a process, a parsed line each. */
function linesOf({ child }: ServerProcess): Record<string, unknown>[] {
  const lines: Record<string, unknown>[] = []
  if (!child.stdout) throw new Error('the output of the process is not read')
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.startsWith('{')) lines.push(JSON.parse(line))
  })
  return lines
}

test('a tus PATCH is a span of its route, and what it writes and commits are steps of it', async () => {
  const collector = await useCollector()
  const { call } = await start(await useFolder(), {
    ...tracedTo(collector),
    OTEL_SERVICE_NAME: 'my-uploads',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
    OTEL_EXPORTER_OTLP_HEADERS: 'x-collector-key=letmein',
  })
  const { headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '5' } })
  const file = new URL(headers.get('location') ?? '').pathname
  await call('PATCH', file, { headers: { ...patchAt(0), 'X-Request-ID': 'my-patch' }, body: 'hello' })

  const patch = await collector.find(PATCH)
  expect(patch).toMatchObject({ kind: 2, parentSpanId: '', status: 0 })
  expect(patch.attributes).toMatchObject({
    'http.request.method': 'PATCH',
    'http.route': '/files/:id',
    'http.response.status_code': 204,
    'upload.id': file.split('/').at(-1),
    'upload.dialect': 'tus',
    'user.id': 'alice',
    'request.id': 'my-patch',
  })
  expect(patch.resource).toMatchObject({
    'service.name': 'my-uploads',
    'deployment.environment.name': 'test',
    'telemetry.sdk.name': 'opentelemetry',
  })
  const [write, ...others] = collector.childrenOf(patch).filter(({ name }) => name === 'store.write')
  expect(others).toEqual([])
  expect(write?.attributes).toMatchObject({ 'store.name': 'local', position: 0, bytes: 5 })
  expect(collector.childrenOf(patch).map(({ name }) => name)).toContain('ledger.commit')
  expect(collector.childrenOf(await collector.find('POST /files')).map(({ name }) => name)).toEqual([
    'ledger.create',
  ])
  for (const { path, headers } of collector.requests) {
    expect(path).toBe('/v1/traces')
    expect(headers['x-collector-key']).toBe('letmein')
  }
})

test('a chunk and a download are spans of the native dialect, and a failure names its error', async () => {
  const collector = await useCollector()
  const { call } = await start(await useFolder(), tracedTo(collector))
  const { json } = await call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 3 } })
  const upload = `/v1/uploads/${json.upload_id}`
  await call('GET', `${upload}/download`)
  await call('PUT', `${upload}/chunks/0`, { body: 'abc' })
  await call('POST', `${upload}/complete`)
  await call('GET', `${upload}/download`)

  const chunk = await collector.find('PUT /v1/uploads/:id/chunks/:index')
  expect(chunk.attributes).toMatchObject({ 'upload.dialect': 'native', 'upload.id': json.upload_id })
  const isOk = (span: { attributes: Record<string, unknown> }) =>
    span.attributes['http.response.status_code'] === 200
  const download = await collector.find('GET /v1/uploads/:id/download', isOk)
  expect(collector.childrenOf(download)).toMatchObject([{ name: 'store.read', attributes: { bytes: 3 } }])
  const early = await collector.find('GET /v1/uploads/:id/download', (span) => !isOk(span))
  // By the conventions of HTTP a mistake of the client is no error of the server's span.
  expect(early).toMatchObject({
    status: 0,
    attributes: { 'http.response.status_code': 409, 'error.type': 'conflict' },
  })
})

test('a request goes on with the trace of its traceparent, in its span, its log line and its error', async () => {
  const collector = await useCollector()
  const { server, call } = await start(await useFolder(), { ...tracedTo(collector), LOG_LEVEL: 'info' })
  const lines = linesOf(server)
  const { json } = await call('GET', '/v1/uploads/nobody', { headers: { traceparent: PARENT } })
  expect(json.trace_id).toBe(TRACE_ID)
  const span = await collector.find('GET /v1/uploads/:id')
  expect([span.traceId, span.parentSpanId]).toEqual([TRACE_ID, '00f067aa0ba902b7'])
  await eventually(() => lines.some((line) => line['trace_id'] === TRACE_ID), 'the line has the trace')

  const own = await call('GET', '/v1/uploads/nobody')
  expect(own.json.trace_id).toMatch(/^[0-9a-f]{32}$/)
  expect(own.json.trace_id).not.toBe(TRACE_ID)
})

test('what its caller does not sample is not exported, and probes never are', async () => {
  const collector = await useCollector()
  const { call } = await start(await useFolder(), tracedTo(collector))
  const unsampled = await call('GET', '/v1/uploads/nobody', { headers: { traceparent: UNSAMPLED } })
  expect(unsampled.json.trace_id).toBe(TRACE_ID)
  for (const probe of ['/health', '/ready', '/metrics', '/version']) await call('GET', probe)
  await call('GET', '/v1/uploads')
  await collector.find('GET /v1/uploads')
  expect(collector.spans.map(({ name }) => name)).toEqual(['GET /v1/uploads'])
})

test('OTEL_TRACES_SAMPLER decides for requests that come without a trace', async () => {
  const collector = await useCollector()
  const { call } = await start(await useFolder(), {
    ...tracedTo(collector),
    OTEL_TRACES_SAMPLER: 'parentbased_always_off',
  })
  await call('GET', '/v1/uploads')
  await call('GET', '/v1/uploads', { headers: { traceparent: PARENT } })
  await collector.find('GET /v1/uploads')
  expect(collector.spans.map(({ traceId }) => traceId)).toEqual([TRACE_ID])
})

test('the wait of a body for its admission is a step of its request', async () => {
  const collector = await useCollector()
  const { server, call } = await start(await useFolder(), {
    ...tracedTo(collector),
    MAX_GLOBAL_INFLIGHT_CHUNKS: '1',
  })
  const create = async () => {
    const { headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '10' } })
    return new URL(headers.get('location') ?? '').pathname
  }
  const [first, second] = [await create(), await create()]
  const slow = slowRequest(server.url, 'PATCH', first, { ...patchAt(0), 'Content-Length': '10' })
  await slow.send(Buffer.from('12345'))
  await eventually(
    async () => (await call('GET', '/metrics')).text.includes('\ninflight_chunks 1\n'),
    'a body is open',
  )
  const patient = call('PATCH', second, { headers: patchAt(0), body: '1234567890' })
  await eventually(
    async () => (await call('GET', '/metrics')).text.includes('\ntask_queue_depth 1\n'),
    'a body waits',
  )
  await slow.send(Buffer.from('67890'))
  slow.end()
  expect((await patient).status).toBe(204)

  const waiting = await collector.find('gate.wait')
  const patch = await collector.find(PATCH, ({ spanId }) => spanId === waiting.parentSpanId)
  expect(patch.attributes['upload.id']).toBe(second.split('/').at(-1))
})

test('a request to the bucket goes on with the trace, and completing there is a step', async () => {
  const collector = await useCollector()
  const s3 = await startS3()
  try {
    const { call } = await start(await useFolder(), { ...tracedTo(collector), ...s3Env(s3) })
    const { headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '5' } })
    const file = new URL(headers.get('location') ?? '').pathname
    const patched = await call('PATCH', file, {
      headers: { ...patchAt(0), traceparent: PARENT },
      body: 'hello',
    })
    expect(patched.status).toBe(204)
    const patch = await collector.find(PATCH)
    const steps = collector.childrenOf(patch)
    expect(steps.map(({ name }) => name)).toEqual(expect.arrayContaining(['store.write', 'store.finalize']))
    const put = s3.requests.find(({ method }) => method === 'PUT')
    const write = steps.find(({ name }) => name === 'store.write')
    expect(put?.headers['traceparent']).toBe(`00-${TRACE_ID}-${write?.spanId}-01`)
    // A proxy on the way may put its own in its place.
    expect(put?.headers['authorization']).toMatch(/SignedHeaders=(?!.*traceparent)/)
  } finally {
    await s3.close()
  }
})

test('a request of more steps than are kept says how many are left out', async () => {
  const collector = await useCollector()
  const { call } = await start(await useFolder(), { ...tracedTo(collector), CHUNK_SIZE_BYTES: '10' })
  const { headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '2000' } })
  await call('PATCH', new URL(headers.get('location') ?? '').pathname, {
    headers: patchAt(0),
    body: 'x'.repeat(2000),
  })
  const patch = await collector.find(PATCH)
  expect(collector.childrenOf(patch)).toHaveLength(200)
  // A write and a commit of each of 200 cells, and perhaps a lock that was waited for.
  expect(Number(patch.attributes['steps_left_out'])).toBeGreaterThanOrEqual(200)
})

test('a shutdown exports what no batch has taken yet', async () => {
  const collector = await useCollector()
  const { server, call } = await start(await useFolder(), {
    ...tracedTo(collector),
    OTEL_BSP_SCHEDULE_DELAY: '600000',
  })
  await call('GET', '/v1/uploads')
  expect(await server.signal('SIGTERM')).toBe(0)
  expect(collector.spans.map(({ name }) => name)).toEqual(['GET /v1/uploads'])
})

test('by default spans go as protobuf, and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is taken as it is', async () => {
  const collector = await useCollector()
  const { call } = await start(await useFolder(), {
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/anywhere`,
    OTEL_BSP_SCHEDULE_DELAY: '50',
  })
  await call('GET', '/v1/uploads')
  await eventually(() => collector.requests.length > 0, 'a batch is exported')
  expect(collector.requests[0]).toMatchObject({
    path: '/anywhere',
    headers: { 'content-type': 'application/x-protobuf' },
  })
  expect(collector.requests[0]?.body.includes('GET /v1/uploads')).toBe(true)
})

test('a collector that is away harms no request, is told in the log, and holds up no shutdown', async () => {
  const { server, call } = await start(await useFolder(), {
    ...tracedTo({ url: 'http://127.0.0.1:1' }),
    OTEL_EXPORTER_OTLP_TIMEOUT: '200',
    LOG_LEVEL: 'warn',
  })
  const lines = linesOf(server)
  expect((await call('GET', '/v1/uploads')).status).toBe(200)
  await eventually(() => lines.some(({ msg }) => msg === 'tracing'), 'the log tells of it')
  expect((await call('GET', '/v1/uploads')).status).toBe(200)
  expect(await server.signal('SIGTERM')).toBe(0)
})

test.each([
  ['without an endpoint', () => ({})],
  [
    'where OTEL_SDK_DISABLED is true',
    (url: string) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_SDK_DISABLED: 'true' }),
  ],
  [
    'where OTEL_TRACES_EXPORTER is none',
    (url: string) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_TRACES_EXPORTER: 'none' }),
  ],
])('%s no span is made', async (_name, env) => {
  const collector = await useCollector()
  const { server, call } = await start(await useFolder(), env(collector.url))
  const answer = await call('GET', '/v1/uploads/nobody')
  expect(answer.json.trace_id).toBeNull()
  // Whose trace it is, is known all the same.
  const traced = await call('GET', '/v1/uploads/nobody', { headers: { traceparent: PARENT } })
  expect(traced.json.trace_id).toBe(TRACE_ID)
  expect(await server.signal('SIGTERM')).toBe(0)
  expect(collector.requests).toEqual([])
})

test('without an endpoint nothing of OpenTelemetry is loaded but its API', async () => {
  const loads = async (env: Record<string, string>) => {
    const { server, call } = await start(await useFolder(), { ...preload('loaded.mjs'), ...env })
    const lines = linesOf(server)
    await call('GET', '/v1/uploads')
    await server.signal('SIGTERM')
    await eventually(() => lines.some((line) => 'loaded' in line), 'the process has told what it loaded')
    return Number(lines.find((line) => 'loaded' in line)?.['loaded'])
  }
  const collector = await useCollector()
  expect(await loads(tracedTo(collector))).toBeGreaterThan(0)
  expect(await loads({})).toBe(0)
})

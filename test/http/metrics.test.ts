import { readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { clientOf, patchAt, TUS, type Client } from '../support/client.ts'
import { useServer } from '../support/server.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const scrape = async (call: Client): Promise<string> => (await call('GET', '/metrics')).text

/** The value of one series; undefined when there is none. */
function valueOf(text: string, series: string): number | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

async function uploadTus(call: Client, bytes: string): Promise<string> {
  const { headers } = await call('POST', '/files', {
    headers: {
      ...TUS,
      'Upload-Length': String(bytes.length),
      'Content-Type': 'application/offset+octet-stream',
    },
    body: bytes,
  })
  return new URL(headers.get('location') ?? '').pathname
}

async function uploadChunk(call: Client, bytes: string): Promise<string> {
  const { json } = await call('POST', '/v1/uploads/init', {
    body: { file_name: 'a', file_size: bytes.length },
  })
  const upload = `/v1/uploads/${json.upload_id}`
  await call('PUT', `${upload}/chunks/0`, { body: bytes })
  await call('POST', `${upload}/complete`)
  return upload
}

test('sizes and durations of completed uploads are histograms by dialect', async () => {
  const call = clientOf((await useServer()).url)
  await uploadTus(call, 'hello')
  await uploadTus(call, 'x'.repeat(20_000))
  await uploadChunk(call, 'abc')
  await call('POST', '/v1/uploads/init', { body: { file_name: 'unfinished', file_size: 7 } })

  const text = await scrape(call)
  expect(valueOf(text, 'upload_size_bytes_bucket{le="1024",dialect="tus"}')).toBe(1)
  expect(valueOf(text, 'upload_size_bytes_bucket{le="65536",dialect="tus"}')).toBe(2)
  expect(valueOf(text, 'upload_size_bytes_sum{dialect="tus"}')).toBe(20_005)
  expect(valueOf(text, 'upload_size_bytes_sum{dialect="native"}')).toBe(3)
  expect(valueOf(text, 'upload_duration_seconds_count{dialect="tus"}')).toBe(2)
  expect(valueOf(text, 'upload_duration_seconds_count{dialect="native"}')).toBe(1)
  expect(valueOf(text, 'upload_duration_seconds_sum{dialect="native"}')).toBeLessThan(60)
})

test('a PATCH that comes again behind the end completes nothing twice', async () => {
  const call = clientOf((await useServer()).url)
  const file = await uploadTus(call, 'hello')
  await call('PATCH', file, { headers: patchAt(5) })
  const text = await scrape(call)
  expect(valueOf(text, 'uploads_completed_total{dialect="tus"}')).toBe(1)
  expect(valueOf(text, 'upload_size_bytes_count{dialect="tus"}')).toBe(1)
})

test('bodies are measured by their announced length, and requests without one are not', async () => {
  const call = clientOf((await useServer()).url)
  const file = await uploadTus(call, 'hello')
  await call('HEAD', file, { headers: TUS })
  const text = await scrape(call)
  expect(valueOf(text, 'http_request_size_bytes_sum{method="POST",route="/files"}')).toBe(5)
  expect(text).not.toContain('http_request_size_bytes_count{method="HEAD"')
  expect(
    valueOf(text, 'http_request_duration_seconds_count{method="HEAD",route="/files/:id",status_code="200"}'),
  ).toBe(1)
})

test('downloads are measured by the bytes that they gave, by store', async () => {
  const call = clientOf((await useServer()).url)
  const file = await uploadTus(call, 'hello')
  await call('GET', file)
  await call('GET', file, { headers: { Range: 'bytes=3-' } })
  await call('GET', file, { headers: { Range: 'bytes=9-' } })
  await eventually(
    async () => valueOf(await scrape(call), 'download_size_bytes_count{store="local"}') === 2,
    'both are told',
  )
  expect(valueOf(await scrape(call), 'download_size_bytes_sum{store="local"}')).toBe(7)
})

test('what the store does is timed by operation, and counted where it fails', async () => {
  const server = await useServer()
  const call = clientOf(server.url)
  const deleted = await uploadChunk(call, 'abc')
  await call('DELETE', deleted)
  const { json } = await call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: 3 } })
  const before = await scrape(call)
  expect(valueOf(before, 'store_operation_duration_seconds_count{store="local",operation="write"}')).toBe(1)
  expect(valueOf(before, 'store_operation_duration_seconds_count{store="local",operation="remove"}')).toBe(1)
  expect(before).not.toContain('store_operation_failures_total{')

  const files = path.join(server.root, 'files')
  await rename(files, `${files}-away`)
  await writeFile(files, 'a file where the folder was')
  await call('PUT', `/v1/uploads/${json.upload_id}/chunks/0`, { body: 'abc' })
  const after = await scrape(call)
  expect(valueOf(after, 'store_operation_failures_total{store="local",operation="write"}')).toBe(1)
})

test('uploads that are deleted and that fail for good are counted', async () => {
  const server = await useServer()
  const call = clientOf(server.url)
  await call('DELETE', await uploadTus(call, 'hello'), { headers: TUS })
  const { headers } = await call('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': '10', 'Content-Type': 'application/offset+octet-stream' },
    body: 'hello',
  })
  const file = new URL(headers.get('location') ?? '').pathname
  const folder = path.join(server.root, 'files', String(file.split('/').at(-1)).slice(0, 3))
  await rename(folder, `${folder}-away`)
  await call('PATCH', file, { headers: patchAt(5), body: 'world' })
  await eventually(
    async () => valueOf(await scrape(call), 'uploads_failed_total{dialect="tus"}') === 1,
    'the failure is counted',
  )
  expect(valueOf(await scrape(call), 'uploads_deleted_total{dialect="tus"}')).toBe(1)
})

test('the wait of a body for its admission is timed, and one that is admitted at once is not', async () => {
  const { url } = await useServer({ MAX_GLOBAL_INFLIGHT_CHUNKS: '1' })
  const call = clientOf(url)
  const create = async () => {
    const { headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '4' } })
    return new URL(headers.get('location') ?? '').pathname
  }
  const [first, second] = [await create(), await create()]
  const slow = slowRequest(url, 'PATCH', first, { ...patchAt(0), 'Content-Length': '4' })
  await slow.send(Buffer.from('ab'))
  await eventually(async () => valueOf(await scrape(call), 'inflight_chunks') === 1, 'a body is open')
  const patient = call('PATCH', second, { headers: patchAt(0), body: 'abcd' })
  await eventually(async () => valueOf(await scrape(call), 'task_queue_depth') === 1, 'a body waits')
  expect(valueOf(await scrape(call), 'body_wait_seconds_count')).toBe(0)
  await slow.send(Buffer.from('cd'))
  slow.end()
  await patient
  expect(valueOf(await scrape(call), 'body_wait_seconds_count')).toBe(1)
})

test('a client that leaves is one request of status 499', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const { headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '4' } })
  const file = new URL(headers.get('location') ?? '').pathname
  const slow = slowRequest(url, 'PATCH', file, { ...patchAt(0), 'Content-Length': '4' })
  await slow.send(Buffer.from('ab'))
  await eventually(async () => valueOf(await scrape(call), 'inflight_chunks') === 1, 'the body is open')
  slow.cut()
  await eventually(async () => valueOf(await scrape(call), 'inflight_chunks') === 0, 'it is over')
  const series = 'http_request_duration_seconds_count{method="PATCH",route="/files/:id",status_code="499"}'
  expect(valueOf(await scrape(call), series)).toBe(1)
})

test('docs/metrics.md has exactly the metrics that are served, with their types', async () => {
  const text = await scrape(clientOf((await useServer()).url))
  const served = [...text.matchAll(/^# TYPE (\w+) (\w+)/gm)].map(([, name, type]) => `${name} ${type}`)
  const page = await readFile(path.join(import.meta.dirname, '..', '..', 'docs', 'metrics.md'), 'utf8')
  const told = [...page.matchAll(/^\| `(\w+)` \| (counter|gauge|histogram) \|/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  )
  expect(told.toSorted()).toEqual(served.filter((one) => !/^(nodejs|process)_/.test(one)).toSorted())
})

test('the metrics name what runs, and tell of the process and its event loop', async () => {
  const call = clientOf((await useServer()).url)
  const text = await scrape(call)
  expect(text).toContain('build_info{version="0.0.0-test",store="local",database="sqlite"} 1')
  for (const name of [
    'process_cpu_seconds_total',
    'process_resident_memory_bytes',
    'nodejs_eventloop_lag_p99_seconds',
  ])
    expect(valueOf(text, name)).toEqual(expect.any(Number))
})

test('more uploads and users make no more series', async () => {
  const call = clientOf((await useServer()).url)
  // Node's own come and go with what is open, and with the kinds of its garbage collections.
  const series = async () =>
    (await scrape(call)).split('\n').filter((line) => !/^(#|nodejs_|process_)/.test(line)).length
  const round = async () => {
    await call('GET', await uploadTus(call, 'hello'))
    await call('DELETE', await uploadChunk(call, 'abc'))
    await call('GET', `/nothing/${Math.random()}`)
    await call('GET', `/files/${Math.random()}`)
  }
  await round()
  // That of the scrape itself.
  await series()
  const before = await series()
  for (let rounds = 0; rounds < 5; rounds++) await round()
  expect(await series()).toBe(before)
})

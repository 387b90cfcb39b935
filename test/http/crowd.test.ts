import { Upload } from 'tus-js-client'
import { expect, onTestFinished, test } from 'vitest'
import { bytesOf, sha256 } from '../support/bytes.ts'
import { clientOf, download } from '../support/client.ts'
import { startProxy } from '../support/proxy.ts'
import { ALICE, BOB, useServer } from '../support/server.ts'

const UPLOADS = 200
const BYTES = 1_000_000
/** So slow a line that all of them take longer than the client's retries do. */
const BYTES_PER_SECOND = 2_000_000

/** With what tus-js-client does by default, but for the key. @returns the path of the upload's URL */
const upload = (url: string, bytes: Buffer, key: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const job: Upload = new Upload(bytes, {
      endpoint: `${url}/files`,
      headers: { 'X-API-Key': key },
      onError: reject,
      onSuccess: () => resolve(new URL(job.url ?? '').pathname),
    })
    job.start()
  })

test(`${UPLOADS} uploads at once by tus-js-client as it comes, over slow lines to 8 places and 4 workers, all finish`, async () => {
  const { url } = await useServer({ WORKER_COUNT: '4', MAX_GLOBAL_INFLIGHT_CHUNKS: '8' })
  const proxy = await startProxy(url, { bytesPerSecond: BYTES_PER_SECOND })
  onTestFinished(() => proxy.close())
  const files = Array.from({ length: UPLOADS }, (_, at) => ({
    bytes: bytesOf(BYTES + at, at + 1),
    key: at % 2 ? ALICE : BOB,
  }))
  const paths = await Promise.all(files.map(({ bytes, key }) => upload(proxy.url, bytes, key)))

  for (const [at, { bytes, key }] of files.entries())
    expect(sha256(await download(url, paths[at] ?? '', key))).toBe(sha256(bytes))
  const metrics = (await clientOf(url)('GET', '/metrics')).text
  expect(metrics).toContain(`uploads_completed_total{dialect="tus"} ${UPLOADS}`)
  expect(metrics).not.toContain('throttled_requests_total{')
})

import { setTimeout } from 'node:timers/promises'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, TUS } from '../support/client.ts'
import { startProxy } from '../support/proxy.ts'
import { ALICE, useServer, type TestServer } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'
import { findChromium, launchChromium, NO_CHROMIUM } from './chromium.ts'
import { visit, type Dashboard, type Visit } from './dashboard.ts'
import { startPageServer, type PageServer } from './page-server.ts'

const chromium = findChromium()
if (chromium === null) console.warn(`The browser tests are skipped: ${NO_CHROMIUM}`)

/** Some 5 MiB of it are between the browser and the server, in the buffers of the kernel. */
const SIZE = 16 * MIB
/** So slow that there is time to do something in mid-upload. */
const SLOW = { bytesPerSecond: 2 * MIB }
/** Uppy's own give up after 9 s, which a busy machine may need to take a picture. */
const PATIENT = Array.from({ length: 60 }, () => 500)
/** A busy machine takes its time. */
const PATIENCE_MS = 120_000

describe.skipIf(chromium === null)('Uppy on a page of another origin', { timeout: 300_000 }, () => {
  let browser: Browser
  let pages: PageServer
  beforeAll(async () => {
    pages = await startPageServer()
    browser = await launchChromium(chromium ?? '')
  }, PATIENCE_MS)
  afterAll(async () => {
    await browser?.close()
    await pages?.close()
  })

  /** A server that lets the page in. */
  const useOpenServer = () => useServer({ CORS_ALLOWED_ORIGINS: pages.origin, CHUNK_SIZE_BYTES: String(MIB) })

  /** A file on its way through a slow proxy, some of it with the server. */
  async function startSlowUpload(name: string, tus: Visit['tus'] = {}) {
    const server = await useOpenServer()
    const proxy = await startProxy(server.url, SLOW)
    onTestFinished(() => proxy.close())
    const uppy = await visit(browser, { origin: pages.origin, target: proxy.url, name, tus })
    const bytes = bytesOf(SIZE)
    await uppy.choose({ 'film.mp4': bytes })
    await uppy.press('upload')
    await offsetReaches(server, SIZE / 4)
    await uppy.picture('uploading')
    return { server, proxy, uppy, bytes }
  }

  test('three files of different sizes arrive, and the page downloads the same bytes', async () => {
    const server = await useOpenServer()
    const uppy = await visit(browser, { origin: pages.origin, target: server.url, name: 'three-files' })
    await uppy.picture('empty')
    const files = {
      'note.txt': bytesOf(1, 1),
      'photo.jpg': bytesOf(300_001, 2),
      'film.mp4': bytesOf(SIZE, 3),
    }
    await uppy.choose(files)
    await uppy.says('Upload 3 files')
    await uppy.picture('chosen')
    await uppy.press('upload')
    await uppy.says('Complete')
    await uppy.picture('complete')

    const uploads = await uploadsOf(server)
    expect(uploads.map(({ file_name }) => file_name).toSorted()).toEqual(Object.keys(files).toSorted())
    for (const { file_name, upload_id } of uploads) {
      const url = `${server.url}/files/${upload_id}`
      const sum = await uppy.page.evaluate(sumOfDownload, { url, apiKey: ALICE })
      expect(sum).toBe(sha256(files[file_name as keyof typeof files]))
    }
  })

  test('a page whose origin is not listed uploads nothing', async () => {
    const server = await useServer({ CORS_ALLOWED_ORIGINS: 'http://elsewhere.example' })
    const name = 'origin-not-listed'
    const uppy = await visit(browser, {
      origin: pages.origin,
      target: server.url,
      name,
      tus: { retryDelays: [] },
    })
    await uppy.choose({ 'film.mp4': bytesOf(1000) })
    await uppy.press('upload')
    await uppy.says('Upload failed')
    await uppy.picture('failed-as-it-should')
    expect(await uploadsOf(server)).toEqual([])
  })

  test('an upload that is paused and resumed goes on at the server’s offset', async () => {
    const { server, uppy, bytes } = await startSlowUpload('pause-and-resume')
    await uppy.press('pause')
    await uppy.says('Paused')
    await uppy.picture('paused')
    const offset = await settledOffset(server)
    const offsets = watchOffset(server)
    await uppy.press('resume')
    await uppy.says(/Uploading: \d+%/)
    await uppy.picture('resumed')
    await uppy.says('Complete')
    await uppy.picture('complete')

    expect(uppy.sent).toEqual([
      { method: 'POST', offset: null },
      { method: 'PATCH', offset: 0 },
      { method: 'HEAD', offset },
      { method: 'PATCH', offset },
    ])
    expect(await offsets).toEqual((await offsets).toSorted((a, b) => a - b))
    await expectArrived(server, bytes)
  })

  test('an upload that is paused and resumed at once, twice, is whole', async () => {
    const { server, uppy, bytes } = await startSlowUpload('pause-and-resume-at-once')
    const offsets = watchOffset(server)
    for (let times = 0; times < 2; times++) {
      await uppy.press('pause')
      await uppy.press('resume')
      await uppy.says(/Uploading: \d+%/)
    }
    await uppy.says('Complete')
    await uppy.picture('complete')

    expect(await offsets).toEqual((await offsets).toSorted((a, b) => a - b))
    expectGrowing(uppy, 2)
    await expectArrived(server, bytes)
  })

  test('an upload outlives a network that is gone for a while and then breaks once more', async () => {
    const { server, proxy, uppy, bytes } = await startSlowUpload('cut-network', { retryDelays: PATIENT })
    const offsets = watchOffset(server)
    proxy.cut(true)
    const before = proxy.cuts()
    await eventually(
      () => proxy.cuts() > before + 1,
      'Uppy tries again while the network is gone',
      PATIENCE_MS,
    )
    await uppy.picture('network-gone')
    const offset = await settledOffset(server)
    proxy.restore()
    await offsetReaches(server, SIZE / 2)
    await uppy.picture('network-back')
    proxy.cut()
    await uppy.says('Complete')
    await uppy.picture('complete')

    expect(await offsets).toEqual((await offsets).toSorted((a, b) => a - b))
    expect(uppy.sent.slice(0, 4)).toEqual([
      { method: 'POST', offset: null },
      { method: 'PATCH', offset: 0 },
      { method: 'HEAD', offset },
      { method: 'PATCH', offset },
    ])
    expectGrowing(uppy, 3)
    await expectArrived(server, bytes)
  })

  test('after a reload Golden Retriever has the file again, and its upload goes on at the server’s offset', async () => {
    const { server, uppy, bytes } = await startSlowUpload('reload')
    await uppy.page.reload()
    await uppy.page.getByText('Session restored').waitFor()
    await uppy.picture('restored')
    const offset = await settledOffset(server)
    expect(offset).toBeGreaterThanOrEqual(SIZE / 4)
    const offsets = watchOffset(server)
    await uppy.press('upload')
    await uppy.says(/Uploading: \d+%/)
    await uppy.picture('resumed')
    await uppy.says('Complete')
    await uppy.picture('complete')

    expect(uppy.sent).toEqual([
      { method: 'POST', offset: null },
      { method: 'PATCH', offset: 0 },
      { method: 'HEAD', offset },
      { method: 'PATCH', offset },
    ])
    expect(await offsets).toEqual((await offsets).toSorted((a, b) => a - b))
    await expectArrived(server, bytes)
  })
})

/** Runs in the page. */
async function sumOfDownload({ url, apiKey }: { url: string; apiKey: string }): Promise<string> {
  const response = await fetch(url, { headers: { 'X-API-Key': apiKey } })
  const sum = await crypto.subtle.digest('SHA-256', await response.arrayBuffer())
  return Array.from(new Uint8Array(sum), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

const uploadsOf = async ({ url }: TestServer): Promise<{ upload_id: string; file_name: string }[]> =>
  (await clientOf(url)('GET', '/v1/uploads')).json.uploads

/** What HEAD says of the only upload; 0 as long as there is none. */
async function offsetOf(server: TestServer): Promise<number> {
  const [upload] = await uploadsOf(server)
  if (!upload) return 0
  const head = await clientOf(server.url)('HEAD', `/files/${upload.upload_id}`, { headers: TUS })
  expect(head.status).toBe(200)
  return Number(head.headers.get('upload-offset'))
}

const offsetReaches = (server: TestServer, offset: number) =>
  eventually(async () => (await offsetOf(server)) >= offset, `the server has ${offset} bytes`, PATIENCE_MS)

/** The offset when the server is done with every body: what was on the way has arrived and counts. */
async function settledOffset(server: TestServer): Promise<number> {
  const metrics = async () => (await clientOf(server.url)('GET', '/metrics')).text
  await eventually(
    async () => /^inflight_chunks 0$/m.test(await metrics()),
    'no body is open at the server',
    PATIENCE_MS,
  )
  return offsetOf(server)
}

/** @returns the offsets that HEAD tells until the upload is whole */
function watchOffset(server: TestServer): Promise<number[]> {
  let over = false
  onTestFinished(() => {
    over = true
  })
  const watch = async () => {
    const offsets: number[] = []
    while (!over && offsets.at(-1) !== SIZE) {
      offsets.push(await offsetOf(server))
      await setTimeout(20)
    }
    return offsets
  }
  const watched = watch()
  watched.catch(() => {})
  return watched
}

/** It took at least so many PATCHes, none of which begins before an earlier one, and one creation. */
function expectGrowing({ sent }: Dashboard, patches: number): void {
  const starts = sent.filter(({ method }) => method === 'PATCH').map(({ offset }) => offset ?? Number.NaN)
  expect(starts.length).toBeGreaterThanOrEqual(patches)
  expect(starts).toEqual(starts.toSorted((a, b) => a - b))
  expect(sent.filter(({ method }) => method === 'POST')).toHaveLength(1)
}

/** The only upload is the file, and no byte of it counted twice. */
async function expectArrived(server: TestServer, bytes: Buffer): Promise<void> {
  const uploads = await uploadsOf(server)
  expect(uploads).toMatchObject([{ file_name: 'film.mp4', status: 'COMPLETED', file_size: bytes.length }])
  expect(sha256(await download(server.url, `/files/${uploads[0]?.upload_id}`))).toBe(sha256(bytes))
  const metrics = await clientOf(server.url)('GET', '/metrics')
  expect(metrics.text).toMatch(new RegExp(`bytes_uploaded_total\\{dialect="tus"\\} ${bytes.length}\\n`))
}

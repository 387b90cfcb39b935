import { readFile } from 'node:fs/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download } from '../support/client.ts'
import { startProxy } from '../support/proxy.ts'
import type { TestServer } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'
import { findChromium, NO_CHROMIUM } from './chromium.ts'
import { openConsole, PATIENCE_MS, type Console } from './console-page.ts'
import { useConsoleSite } from './console-site.ts'
import { startPrefixProxy } from './prefix-proxy.ts'

const chromium = findChromium()
if (chromium === null) console.warn(`The tests of the web console are skipped: ${NO_CHROMIUM}`)

const SIZE = 16 * MIB
/** Of each connection: so slow that there is time to do something in mid-upload. */
const SLOW = { bytesPerSecond: MIB }

describe.skipIf(chromium === null)('The web console', { timeout: 300_000 }, () => {
  const site = useConsoleSite(chromium)
  const useSlowServer = async () => {
    const server = await site.useServer()
    const proxy = await startProxy(server.url, SLOW)
    onTestFinished(() => proxy.close())
    return { server, proxy }
  }

  test('a wrong key is refused, the right one lets in, and no other tab knows it', async () => {
    const { url } = await site.useServer()
    const visitor = await openConsole(site.browser(), url, 'sign-in')
    const { page } = visitor
    await page.getByLabel('API key or token').fill('no-such-key')
    await page.keyboard.press('Enter')
    await page.getByRole('alert').filter({ hasText: 'does not know this key' }).waitFor()
    expect(await page.getByRole('heading', { name: 'Your uploads' }).isVisible()).toBe(false)
    await visitor.picture('wrong-key')

    await visitor.signIn()
    await page.getByText('Nothing here yet').waitFor()
    await visitor.picture('empty')
    await page.reload()
    await page.getByText('Nothing here yet').waitFor()
    const kept = await page.evaluate<string>('JSON.stringify(localStorage) + document.cookie')
    expect(kept).not.toContain('alice-key')
    const other = await page.context().newPage()
    await other.goto(url)
    await other.getByLabel('API key or token').waitFor()

    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('API key or token').waitFor()
    expect(await page.evaluate('sessionStorage.length')).toBe(0)
  })

  test('a file that goes up by tus comes down with the same bytes, and is gone once deleted', async () => {
    const server = await site.useServer()
    const visitor = await openConsole(site.browser(), server.url, 'tus')
    await visitor.signIn()
    const bytes = bytesOf(3 * MIB + 17)
    await visitor.choose({ 'film.mp4': bytes, 'note.txt': bytesOf(5) })
    await visitor.press('upload')
    await visitor.state('film.mp4', 'Complete')
    await visitor.state('note.txt', 'Complete')
    await visitor.picture('complete')
    // Uppy puts its list away; what arrived stays.
    await visitor.page.locator('.uppy-StatusBar-actionBtn--done').click()
    expect(await downloaded(visitor, 'film.mp4')).toBe(sha256(bytes))

    await visitor.row('film.mp4').getByRole('button', { name: 'Delete' }).click()
    await visitor.page.getByRole('button', { name: 'Keep it' }).click()
    expect(await uploadsOf(server)).toHaveLength(2)
    await visitor.row('film.mp4').getByRole('button', { name: 'Delete' }).click()
    await visitor.page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
    await visitor.row('film.mp4').waitFor({ state: 'detached' })
    expect(await uploadsOf(server)).toMatchObject([{ file_name: 'note.txt' }])
  })

  test('after a reload in mid-upload by tus the file is there again and goes on at the server’s offset', async () => {
    const { server, proxy } = await useSlowServer()
    const visitor = await openConsole(site.browser(), proxy.url, 'tus-reload')
    const bytes = bytesOf(SIZE)
    await visitor.signIn()
    await visitor.choose({ 'film.mp4': bytes })
    const copied = visitor.isCopied()
    await visitor.press('upload')
    await copied
    await hasBytes(server, SIZE / 4)
    await visitor.picture('uploading')
    const offsets = offsetsOf(visitor, 'PATCH')
    await visitor.page.reload()
    await visitor.page.getByText('Session restored').waitFor()
    await visitor.picture('restored')
    await visitor.press('upload')
    await visitor.state('film.mp4', 'Complete')

    expect(Math.min(...offsets)).toBeGreaterThanOrEqual(SIZE / 4)
    await expectArrived(server, bytes)
  })

  test('by chunks, four go up side by side, the map fills, and the bytes are the same', async () => {
    const { server, proxy } = await useSlowServer()
    const visitor = await openConsole(site.browser(), proxy.url, 'chunks')
    const bytes = bytesOf(SIZE)
    await visitor.signIn()
    await visitor.by('chunks')
    await visitor.choose({ 'film.mp4': bytes })
    await visitor.press('upload')
    const map = visitor.row('film.mp4').getByRole('img')
    const seen = new Set<string>()
    let most = 0
    await eventually(
      async () => {
        most = Math.max(most, await openBodies(server))
        const label = await map.getAttribute('aria-label', { timeout: 1_000 }).catch(() => null)
        if (label) seen.add(label)
        return (await uploadsOf(server))[0]?.status === 'COMPLETED'
      },
      'the upload completes',
      PATIENCE_MS,
    )
    await visitor.state('film.mp4', 'Complete')

    expect(most).toBe(4)
    const counts = [...seen].map((label) => Number(/^(\d+) of 16 chunks received$/.exec(label)?.[1]))
    expect(counts.length).toBeGreaterThanOrEqual(3)
    expect(counts).toEqual(counts.toSorted((a, b) => a - b))
    await expectArrived(server, bytes)
  })

  test('by chunks, an upload that is paused and then reloaded sends no chunk again that counts', async () => {
    const { server, proxy } = await useSlowServer()
    const visitor = await openConsole(site.browser(), proxy.url, 'chunks-reload')
    const bytes = bytesOf(SIZE)
    await visitor.signIn()
    await visitor.by('chunks')
    await visitor.choose({ 'film.mp4': bytes })
    const copied = visitor.isCopied()
    await visitor.press('upload')
    await copied
    await hasBytes(server, 2 * MIB)
    await visitor.press('pause')
    await eventually(async () => (await openBodies(server)) === 0, 'no body is open', PATIENCE_MS)
    await visitor.state('film.mp4', 'Unfinished')
    await visitor.picture('paused')
    const missing = await missingOf(server)
    expect(missing.length).toBeLessThan(15)

    const sent: number[] = []
    visitor.page.on('request', (request) => {
      const index = /\/chunks\/(\d+)$/.exec(request.url())?.[1]
      if (request.method() === 'PUT' && index !== undefined) sent.push(Number(index))
    })
    await visitor.page.reload()
    await visitor.page.getByText('Session restored').waitFor()
    expect(await visitor.page.getByLabel('Parallel chunks').isChecked()).toBe(true)
    await visitor.press('upload')
    await visitor.state('film.mp4', 'Complete')
    expect(sent.toSorted((a, b) => a - b)).toEqual(missing)
    await expectArrived(server, bytes)
  })

  test('by chunks, an upload outlives a network that breaks', async () => {
    const { server, proxy } = await useSlowServer()
    const visitor = await openConsole(site.browser(), proxy.url, 'chunks-cut')
    const bytes = bytesOf(SIZE)
    await visitor.signIn()
    await visitor.by('chunks')
    await visitor.choose({ 'film.mp4': bytes })
    await visitor.press('upload')
    await hasBytes(server, MIB)
    proxy.cut(true)
    await visitor.page.getByText('No connection to the server').waitFor()
    await visitor.picture('cut')
    proxy.restore()
    await visitor.state('film.mp4', 'Complete')
    await expectArrived(server, bytes)
  })

  test('by chunks, a file that is taken away in mid-upload leaves nothing at the server', async () => {
    const { server, proxy } = await useSlowServer()
    const visitor = await openConsole(site.browser(), proxy.url, 'chunks-cancel')
    await visitor.signIn()
    await visitor.by('chunks')
    await visitor.choose({ 'film.mp4': bytesOf(SIZE) })
    await visitor.press('upload')
    await hasBytes(server, MIB)
    await visitor.page.locator('.uppy-StatusBar').getByTitle('Cancel').click()
    await visitor.page.getByText('Nothing here yet').waitFor()
    expect(await uploadsOf(server)).toEqual([])
  })

  test('behind a path prefix the page finds all that it needs', async () => {
    const proxy = await startPrefixProxy('/files-of-ada')
    onTestFinished(() => proxy.close())
    const server = await site.useServer({ PUBLIC_BASE_URL: `${proxy.origin}/files-of-ada` })
    proxy.to(server.url)
    const visitor = await openConsole(site.browser(), `${proxy.origin}/files-of-ada/`, 'prefix')
    await visitor.signIn()
    for (const [method, name] of [
      ['tus', 'one.bin'],
      ['chunks', 'two.bin'],
    ] as const) {
      await visitor.by(method)
      await visitor.choose({ [name]: bytesOf(MIB + 1) })
      await visitor.press('upload')
      await visitor.state(name, 'Complete')
      await visitor.page.locator('.uppy-StatusBar-actionBtn--done').click()
    }
    expect(await downloaded(visitor, 'two.bin')).toBe(sha256(bytesOf(MIB + 1)))
  })

  test('what another client sends appears in the list, and goes with its deletion', async () => {
    const server = await site.useServer()
    const visitor = await openConsole(site.browser(), server.url, 'elsewhere')
    await visitor.signIn()
    await visitor.page.getByText('Nothing here yet').waitFor()
    const call = clientOf(server.url)
    const { json } = await call('POST', '/v1/uploads/init', {
      body: { file_name: 'from-elsewhere.bin', file_size: 4, chunk_size: 2 },
    })
    await visitor.state('from-elsewhere.bin', 'Waiting')
    await call('PUT', `/v1/uploads/${json.upload_id}/chunks/1`, { body: 'ab' })
    await visitor.row('from-elsewhere.bin').getByRole('img', { name: '1 of 2 chunks received' }).waitFor()
    await call('DELETE', `/v1/uploads/${json.upload_id}`)
    await visitor.page.getByText('Nothing here yet').waitFor()
  })
})

const uploadsOf = async ({
  url,
}: TestServer): Promise<{ upload_id: string; status: string; offset: number }[]> =>
  (await clientOf(url)('GET', '/v1/uploads')).json.uploads

const missingOf = async (server: TestServer): Promise<number[]> => {
  const id = (await uploadsOf(server))[0]?.upload_id
  return (await clientOf(server.url)('GET', `/v1/uploads/${id}/missing-chunks`)).json.missing_chunk_indexes
}

/** Waits until so many bytes of the only upload are at the server, wherever they lie. */
const hasBytes = (server: TestServer, bytes: number) =>
  eventually(
    async () => {
      const [upload] = await uploadsOf(server)
      if (!upload) return false
      const missing = await missingOf(server)
      return upload.offset >= bytes || (16 - missing.length) * MIB >= bytes
    },
    `the server has ${bytes} bytes`,
    PATIENCE_MS,
  )

const openBodies = async ({ url }: TestServer): Promise<number> =>
  (await clientOf(url)('GET', '/v1/limits')).json.load.inflight_chunks

/** @returns the sum of what the button gives */
async function downloaded(visitor: Console, name: string): Promise<string> {
  const coming = visitor.page.waitForEvent('download')
  await visitor.row(name).getByRole('button', { name: 'Download' }).click()
  const file = await coming
  expect(file.suggestedFilename()).toBe(name)
  return sha256(await readFile(await file.path()))
}

/** The offsets of requests from now on, as they are sent. */
function offsetsOf({ page }: Console, method: string): number[] {
  const offsets: number[] = []
  page.on('request', (request) => {
    if (request.method() === method) offsets.push(Number(request.headers()['upload-offset']))
  })
  return offsets
}

async function expectArrived(server: TestServer, bytes: Buffer): Promise<void> {
  const uploads = await uploadsOf(server)
  expect(uploads).toMatchObject([{ file_name: 'film.mp4', status: 'COMPLETED', file_size: bytes.length }])
  expect(sha256(await download(server.url, `/files/${uploads[0]?.upload_id}`))).toBe(sha256(bytes))
}

import { request } from 'node:http'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { useFolder } from '../support/folder.ts'
import { startTestServer, useServer } from '../support/server.ts'

interface Answer {
  status: number
  headers: Record<string, unknown>
  body: Buffer
}

/** As it is on the wire: fetch would decompress. */
const get = (url: string, headers: Record<string, string> = {}, method = 'GET') =>
  new Promise<Answer>((resolve, reject) => {
    const req = request(url, { method, headers, agent: false }, (res) => {
      const pieces: Buffer[] = []
      res.on('data', (piece: Buffer) => pieces.push(piece))
      res.on('end', () =>
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body: Buffer.concat(pieces) }),
      )
    })
    req.on('error', reject)
    req.end()
  })

/** The files that the page loads. */
async function assetsOf(url: string): Promise<string[]> {
  const { body } = await get(url)
  return [...body.toString().matchAll(/(?:src|href)="(console\/[^"]+)"/g)].map(([, name]) => String(name))
}

test('the page has nothing inline, loads nothing from elsewhere, and may not be framed', async () => {
  const { url } = await useServer()
  const { status, headers, body } = await get(url)
  expect([status, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8'])
  const html = body.toString()
  expect(html).not.toMatch(/<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:/)
  expect(html).not.toMatch(/(src|href)="(https?:)?\//)
  const policy = String(headers['content-security-policy'])
  expect(policy).toContain("default-src 'none'")
  expect(policy).toContain("frame-ancestors 'none'")
  expect(policy).not.toMatch(/unsafe|\*|https?:/)
  expect(headers).toMatchObject({
    'x-frame-options': 'DENY',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': 'same-origin',
  })
})

test('what the page loads may be kept for ever, under names that are there', async () => {
  const { url } = await useServer()
  const assets = await assetsOf(url)
  expect(new Set(assets.map((name) => name.split('.').at(-1)))).toEqual(new Set(['css', 'js', 'svg']))
  for (const name of assets) {
    const { status, headers } = await get(`${url}/${name}`)
    expect([name, status]).toEqual([name, 200])
    expect(headers['cache-control']).toBe('public, max-age=31536000, immutable')
  }
  expect((await get(url)).headers['cache-control']).toBe('no-cache')
})

test('each coding has an ETag of its own and the same bytes, and who has them gets 304', async () => {
  const { url } = await useServer()
  const page = `${url}/${(await assetsOf(url)).find((name) => name.endsWith('.js'))}`
  const plain = await get(page)
  const zipped = await get(page, { 'Accept-Encoding': 'gzip' })
  const brotli = await get(page, { 'Accept-Encoding': 'gzip, deflate, br' })
  expect([plain, zipped, brotli].map(({ headers }) => headers['content-encoding'])).toEqual([
    undefined,
    'gzip',
    'br',
  ])
  expect(gunzipSync(zipped.body).equals(plain.body)).toBe(true)
  expect(brotliDecompressSync(brotli.body).equals(plain.body)).toBe(true)
  const etags = [plain, zipped, brotli].map(({ headers }) => String(headers['etag']))
  expect(new Set(etags).size).toBe(3)
  for (const { headers } of [plain, zipped, brotli]) expect(headers['vary']).toContain('Accept-Encoding')

  const again = await get(page, { 'Accept-Encoding': 'gzip', 'If-None-Match': `"x", W/${etags[1]}` })
  expect([again.status, again.body.length, again.headers['etag']]).toEqual([304, 0, etags[1]])
  expect((await get(page, { 'If-None-Match': String(etags[1]) })).status).toBe(200)
  expect(
    (await get(page, { 'Accept-Encoding': 'gzip;q=0, br;q=0.0' })).headers['content-encoding'],
  ).toBeUndefined()
})

test('HEAD tells the same and brings nothing', async () => {
  const { url } = await useServer()
  const [whole, head] = [await get(url), await get(url, {}, 'HEAD')]
  expect(head.body.length).toBe(0)
  expect(head.headers['content-length']).toBe(String(whole.body.length))
  expect(head.headers['etag']).toBe(whole.headers['etag'])
})

test('a name that is none is 404, also one that leads out of the folder', async () => {
  const { url } = await useServer()
  for (const name of [
    'nothing.js',
    'index.html',
    '..%2fmain.js',
    '%2e%2e%2f%2e%2e%2fpackage.json',
    'icon.svg.gz',
  ])
    expect([name, (await get(`${url}/console/${name}`)).status]).toEqual([name, 404])
})

test('a server whose console was not built does everything else', async () => {
  const server = await startTestServer({}, undefined, await useFolder())
  expect((await get(server.url)).status).toBe(404)
  expect((await get(`${server.url}/health`)).status).toBe(200)
  await server.close()
})

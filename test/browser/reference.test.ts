import { createServer, request as ask } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { document } from '../support/openapi/document.ts'
import { useServer } from '../support/server.ts'
import { ARTIFACTS, findChromium, launchChromium, NO_CHROMIUM } from './chromium.ts'

const chromium = findChromium()
if (chromium === null) console.warn(`The test of the reference in a browser is skipped: ${NO_CHROMIUM}`)

/** A proxy that serves the server under `/up`. @returns what the server is reached by */
async function useProxyWithPrefix(target: string): Promise<string> {
  const proxy = createServer((req, res) => {
    const { pathname, search } = new URL(req.url ?? '/', 'http://proxy')
    if (!pathname.startsWith('/up/')) return res.writeHead(404).end()
    const { method = 'GET', headers } = req
    const passed = ask(target + pathname.slice('/up'.length) + search, { method, headers }, (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(res)
    })
    return req.pipe(passed)
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => {
    proxy.closeAllConnections()
    proxy.close()
  })
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/up`
}

test.skipIf(chromium === null)(
  'the reference shows every operation and webhook and calls operations, behind a prefix, and asks no other host',
  { timeout: 300_000 },
  async () => {
    const { url } = await useServer()
    const base = await useProxyWithPrefix(url)
    const browser = await launchChromium(chromium ?? '')
    onTestFinished(() => browser.close())
    const page = await browser.newPage({ viewport: { width: 1200, height: 1500 } })
    page.setDefaultTimeout(120_000)
    const hosts = new Set<string>()
    const complaints: string[] = []
    page.on('request', (request) => hosts.add(new URL(request.url()).host))
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
    page.on('pageerror', (error) => complaints.push(error.message))

    await page.goto(`${base}/docs/`)
    await page.waitForSelector('.opblock')
    await page.screenshot({ path: path.join(ARTIFACTS, 'reference.png'), fullPage: true })
    const { paths, webhooks } = document
    const described = [paths, webhooks].flatMap((items) => Object.values(items).flatMap(Object.keys))
    expect(await page.locator('.opblock').count()).toBe(described.length)

    const version = page.locator('#operations-Operations-version')
    await version.locator('.opblock-summary-control').click()
    await version.locator('.try-out__btn').click()
    await version.locator('.execute').click()
    await version.locator('.live-responses-table').waitFor()
    expect(await version.locator('.live-responses-table').first().textContent()).toContain('0.0.0-test')
    expect(await version.locator('.request-url').textContent()).toContain(`${base}/version`)

    expect([...hosts].filter((host) => host !== '')).toEqual([new URL(base).host])
    expect(complaints).toEqual([])
  },
)

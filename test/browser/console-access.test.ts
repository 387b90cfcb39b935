import axe from 'axe-core'
import type { Page } from 'playwright-core'
import { describe, expect, test } from 'vitest'
import { bytesOf, MIB } from '../support/bytes.ts'
import { clientOf } from '../support/client.ts'
import { findChromium, NO_CHROMIUM } from './chromium.ts'
import { openConsole } from './console-page.ts'
import { useConsoleSite } from './console-site.ts'

const chromium = findChromium()
if (chromium === null) console.warn(`The tests of who can use the web console are skipped: ${NO_CHROMIUM}`)

/** Serious and critical ones; what WCAG 2.2 asks for on its levels A and AA. */
const RULES = `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
  .then(({ violations }) => violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => id + ': ' + nodes.map(({ html, failureSummary }) => html + ' ' + failureSummary).join(' | ')))`

describe.skipIf(chromium === null)('The web console is for everybody', { timeout: 300_000 }, () => {
  const site = useConsoleSite(chromium)
  /** By the debugger's way in, which no policy of a page forbids. */
  const offencesOn = async (page: Page): Promise<string[]> => {
    // What fades in has its contrast later.
    await page.waitForTimeout(500)
    await page.evaluate(axe.source)
    return page.evaluate<string[]>(RULES)
  }

  test.each(['light', 'dark'] as const)('axe finds nothing serious in %s', async (colorScheme) => {
    const { url } = await site.useServer()
    await fill(url)
    const visitor = await openConsole(site.browser(), url, `axe-${colorScheme}`, { colorScheme })
    await visitor.page.getByLabel('API key or token').fill('wrong')
    await visitor.page.keyboard.press('Enter')
    await visitor.page.getByText('does not know this key').waitFor()
    expect(await offencesOn(visitor.page)).toEqual([])
    await visitor.signIn()
    await visitor.state('half.bin', 'Unfinished')
    expect(await offencesOn(visitor.page)).toEqual([])
    await visitor.picture('desk')

    await visitor.choose({ 'film.mp4': bytesOf(2 * MIB), 'note.txt': bytesOf(5) })
    expect(await offencesOn(visitor.page)).toEqual([])
    await visitor.picture('chosen')
    await visitor.press('upload')
    await visitor.state('film.mp4', 'Complete')
    expect(await offencesOn(visitor.page)).toEqual([])
    await visitor.picture('sent')
    await visitor.row('film.mp4').getByRole('button', { name: 'Delete' }).click()
    expect(await offencesOn(visitor.page)).toEqual([])
    await visitor.picture('dialog')
  })

  test('the theme that was chosen here wins over the system’s, also after a reload', async () => {
    const { url } = await site.useServer()
    const { page, signIn } = await openConsole(site.browser(), url, 'theme', { colorScheme: 'light' })
    await signIn()
    const colour = () => page.evaluate<string>('getComputedStyle(document.body).backgroundColor')
    const light = await colour()
    await page.getByLabel('Theme').selectOption('dark')
    const dark = await colour()
    expect(dark).not.toBe(light)
    await page.reload()
    await page.getByText('Nothing here yet').waitFor()
    expect(await colour()).toBe(dark)
    await page.getByLabel('Theme').selectOption('system')
    expect(await colour()).toBe(light)
    await page.emulateMedia({ colorScheme: 'dark' })
    expect(await colour()).toBe(dark)
  })

  test('by keyboard alone: sign in, choose the way, delete, keep the place in the list, and sign out', async () => {
    const { url } = await site.useServer()
    await fill(url)
    const { page, row } = await openConsole(site.browser(), url, 'keyboard')
    // The field has the focus already.
    await page.getByLabel('API key or token').waitFor()
    await page.keyboard.type('alice-key')
    await page.keyboard.press('Enter')
    await row('whole.bin').waitFor()

    await tabTo(page, 'tus')
    await page.keyboard.press('ArrowRight')
    expect(await page.getByLabel('Parallel chunks').isChecked()).toBe(true)
    await tabTo(page, 'browse files')
    await tabTo(page, 'Delete: whole.bin')
    await page.keyboard.press('Enter')
    const dialog = page.getByRole('dialog', { name: 'Delete this upload?' })
    await dialog.waitFor()
    // The focus is back before the page hears of the close, and no person is quick enough to press a key in between.
    await page.evaluate(`void (window.askedAndClosed = new Promise((done) =>
      document.getElementById('confirm').addEventListener('close', () => done())))`)
    await page.keyboard.press('Escape')
    await page.evaluate('window.askedAndClosed')
    expect(await focused(page)).toBe('Delete: whole.bin')
    await page.keyboard.press('Enter')
    await dialog.waitFor()
    await tabTo(page, 'Delete')
    await page.keyboard.press('Enter')
    await row('whole.bin').waitFor({ state: 'detached' })
    expect(await focused(page)).toContain('half.bin')

    await tabTo(page, 'Sign out')
    await page.keyboard.press('Enter')
    await page.getByLabel('API key or token').waitFor()
  })

  test('what completes is read out', async () => {
    const { url } = await site.useServer()
    const id = await fill(url)
    const visitor = await openConsole(site.browser(), url, 'announced')
    await visitor.signIn()
    await visitor.state('half.bin', 'Unfinished')
    const call = clientOf(url)
    await call('PUT', `/v1/uploads/${id}/chunks/0`, { body: 'ab' })
    await call('POST', `/v1/uploads/${id}/complete`)
    await visitor.page
      .locator('[aria-live=polite]')
      .filter({ hasText: 'half.bin is complete.' })
      .waitFor({ state: 'attached' })
  })

  test.each([320, 375])('on a phone of %i pixels nothing scrolls sideways', async (width) => {
    const { url } = await site.useServer()
    await fill(url)
    const visitor = await openConsole(site.browser(), url, `phone-${width}`, {
      viewport: { width, height: 740 },
      deviceScaleFactor: 2,
      hasTouch: true,
      isMobile: true,
    })
    const overhang = () => visitor.page.evaluate('document.documentElement.scrollWidth - innerWidth')
    expect(await overhang()).toBe(0)
    await visitor.picture('sign-in')
    await visitor.signIn()
    await visitor.state('half.bin', 'Unfinished')
    expect(await overhang()).toBe(0)
    await visitor.choose({ [`${'a-very-long-name'.repeat(8)}.bin`]: bytesOf(5) })
    await visitor.press('upload')
    await visitor.row(`${'a-very-long-name'.repeat(8)}.bin`).waitFor()
    expect(await overhang()).toBe(0)
    await visitor.picture('desk')
  })

  test('a link is copied where the server gives links, and its button goes where it gives none', async () => {
    const { url } = await site.useServer()
    await fill(url)
    const visitor = await openConsole(site.browser(), url, 'links', {
      permissions: ['clipboard-read', 'clipboard-write'],
    })
    await visitor.signIn()
    const copy = visitor.row('whole.bin').getByRole('button', { name: 'Copy link' })
    await visitor.page.route('**/links', (route) =>
      route.fulfill({
        status: 201,
        json: { url: `${url}/l/abc`, expires_at: new Date(Date.now() + 86_400_000) },
      }),
    )
    await copy.click()
    await visitor.page.getByRole('status').filter({ hasText: 'Link copied' }).waitFor()
    expect(await visitor.page.evaluate('navigator.clipboard.readText()')).toBe(`${url}/l/abc`)
    await visitor.page.unroute('**/links')
    await visitor.page.route('**/links', (route) =>
      route.fulfill({ status: 404, json: { detail: 'Nothing.' } }),
    )
    await copy.click()
    await copy.waitFor({ state: 'hidden' })
  })
})

/** A finished upload, a half one and one with a long name. @returns the half one's id */
async function fill(url: string): Promise<string> {
  const call = clientOf(url)
  const create = async (name: string) => {
    const body = { file_name: name, file_size: 4, chunk_size: 2 }
    const { json } = await call('POST', '/v1/uploads/init', { body })
    await call('PUT', `/v1/uploads/${json.upload_id}/chunks/1`, { body: 'cd' })
    return String(json.upload_id)
  }
  await create(`${'unbreakable'.repeat(20)}.bin`)
  const half = await create('half.bin')
  const whole = await create('whole.bin')
  await call('PUT', `/v1/uploads/${whole}/chunks/0`, { body: 'ab' })
  await call('POST', `/v1/uploads/${whole}/complete`)
  return half
}

/** How whoever can't see the page knows what has the focus. */
const focused = (page: Page): Promise<string> =>
  page.evaluate<string>(`(() => {
    const it = document.activeElement
    const words = it.getAttribute('aria-label') ?? it.labels?.[0]?.textContent ?? it.textContent
    return words.trim().replace(/\\s+/g, ' ')
  })()`)

/** Goes on by Tab until the focus is on it. */
async function tabTo(page: Page, words: string): Promise<void> {
  const seen: string[] = []
  for (let steps = 0; steps < 60; steps++) {
    await page.keyboard.press('Tab')
    seen.push(await focused(page))
    if (seen.at(-1)?.startsWith(words)) return
  }
  throw new Error(`no Tab leads to "${words}", but to ${seen.join(', ')}`)
}

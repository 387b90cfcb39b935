import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core'
import { expect, onTestFinished } from 'vitest'
import { useFolder } from '../support/folder.ts'
import { ALICE } from '../support/server.ts'
import { ARTIFACTS } from './chromium.ts'

const ROOT = path.join(import.meta.dirname, '..', '..')

/** What the page waits for may take a while on a busy machine. */
export const PATIENCE_MS = 120_000

/** A visitor of the web console: what there is to press and to see. */
export interface Console {
  page: Page
  signIn(key?: string): Promise<void>
  choose(files: Record<string, Buffer>): Promise<void>
  by(method: 'tus' | 'chunks'): Promise<void>
  press(button: 'upload' | 'pause' | 'resume'): Promise<void>
  /** the row of a file in the list */
  row(name: string): Locator
  state(name: string, words: string): Promise<void>
  picture(stage: string): Promise<void>
  /** Waits until Golden Retriever has a copy of a file, which outlives a reload. */
  isCopied(): Promise<unknown>
}

/** Builds the page out of the sources, into a folder that goes away with the running test file. */
export async function buildConsole(folder: string): Promise<void> {
  await promisify(execFile)(process.execPath, ['scripts/build-console.mjs', folder], { cwd: ROOT })
}

/**
 * Opens the page in a fresh profile. When the test is over, it must have broken no rule of its own policy,
 * thrown nothing and asked nobody else.
 */
export async function openConsole(
  browser: Browser,
  url: string,
  name: string,
  options: BrowserContextOptions = {},
): Promise<Console> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 820 }, ...options })
  context.setDefaultTimeout(PATIENCE_MS)
  const page = await context.newPage()
  const folder = path.join(ARTIFACTS, `console-${name}`)
  await mkdir(folder, { recursive: true })
  const offences: string[] = []
  const { origin } = new URL(url)
  page.on('request', (request) => {
    if (!/^(blob|data):/.test(request.url()) && new URL(request.url()).origin !== origin)
      offences.push(`asked ${request.url()}`)
  })
  page.on('pageerror', (error) => offences.push(`threw ${error.message}`))
  page.on('console', (message) => {
    if (/content security policy|violates/i.test(message.text())) offences.push(message.text())
  })
  let pictures = 0
  const picture = async (stage: string) => {
    pictures += 1
    await page.screenshot({ path: path.join(folder, `${pictures}-${stage}.png`) })
  }
  onTestFinished(async ({ task }) => {
    if (task.result?.state === 'fail') await picture('failed')
    await context.close()
    expect(offences).toEqual([])
  })

  await page.goto(url)
  const status = page.locator('.uppy-StatusBar')
  const buttons = {
    upload: page.locator('.uppy-StatusBar-actionBtn--upload'),
    pause: status.getByTitle('Pause'),
    resume: status.getByTitle('Resume'),
  }
  const row = (file: string) => page.locator('.row').filter({ has: page.getByText(file, { exact: true }) })
  return {
    page,
    async signIn(key = ALICE) {
      await page.getByLabel('API key or token').fill(key)
      await page.keyboard.press('Enter')
      await page.getByRole('heading', { name: 'Your uploads' }).waitFor()
    },
    async choose(files) {
      const chosen = await useFolder()
      const paths = Object.keys(files).map((file) => path.join(chosen, file))
      await Promise.all(paths.map((file) => writeFile(file, files[path.basename(file)] ?? '')))
      await page.locator('.uppy-Dashboard-input').first().setInputFiles(paths)
      await buttons.upload.waitFor()
    },
    by: (method) => page.locator(`#method input[value=${method}]`).check(),
    press: (button) => buttons[button].click(),
    row,
    state: (file, words) => row(file).locator('.state').filter({ hasText: words }).waitFor(),
    picture,
    isCopied: () => page.waitForFunction(IS_COPIED),
  }
}

/** For the browser: whether there is a file in Uppy's database. */
const IS_COPIED = `(async () => {
  const done = (request) => new Promise((resolve) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => resolve(null)
  })
  for (const { name } of await indexedDB.databases()) {
    const database = await done(indexedDB.open(name))
    const has = database?.objectStoreNames.contains('files')
    const count = has ? await done(database.transaction('files').objectStore('files').count()) : 0
    database?.close()
    if (count > 0) return true
  }
  return false
})()`

import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Browser, Locator, Page } from 'playwright-core'
import { onTestFinished } from 'vitest'
import { MIB } from '../support/bytes.ts'
import { useFolder } from '../support/folder.ts'
import { ALICE } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'
import { ARTIFACTS } from './chromium.ts'

/** A visitor's view of Uppy: what there is to press and to see, and what the browser sends. */
export interface Dashboard {
  page: Page
  /** Chooses files, as by the file dialog, and waits until Golden Retriever has a copy of each. */
  choose(files: Record<string, Buffer>): Promise<void>
  press(button: 'upload' | 'pause' | 'resume'): Promise<void>
  /** Waits until the status bar says it. */
  says(words: string | RegExp): Promise<void>
  /** Keeps a picture of the page as it is now. */
  picture(stage: string): Promise<void>
  /** the tus requests, in their order */
  sent: Sent[]
}

export interface Sent {
  method: string
  /** Upload-Offset of a PATCH, and of the answer to a HEAD */
  offset: number | null
}

export interface Visit {
  /** the page's origin */
  origin: string
  /** the upload server, as the browser reaches it */
  target: string
  /** the folder of its pictures */
  name: string
  /** settings of Uppy's plugin for tus */
  tus?: { retryDelays?: number[] }
}

/** What Uppy waits for may take a while on a busy machine. */
const PATIENCE_MS = 120_000

/** Opens the page in a fresh profile, which goes away with the running test. */
export async function visit(browser: Browser, { origin, target, name, tus }: Visit): Promise<Dashboard> {
  const context = await browser.newContext({ viewport: { width: 900, height: 620 } })
  context.setDefaultTimeout(PATIENCE_MS)
  const page = await context.newPage()
  const folder = path.join(ARTIFACTS, name)
  await mkdir(folder, { recursive: true })
  const lines: string[] = []
  page.on('console', (message) => lines.push(message.text()))
  let pictures = 0
  const picture = async (stage: string) => {
    pictures += 1
    await page.screenshot({ path: path.join(folder, `${pictures}-${stage}.png`) })
  }
  onTestFinished(async ({ task }) => {
    if (task.result?.state === 'fail') {
      await picture('failed')
      await writeFile(path.join(folder, 'console.log'), lines.join('\n'))
    }
    await context.close()
  })

  const settings = {
    tus: { endpoint: `${target}/files`, headers: { 'X-API-Key': ALICE }, ...tus },
    goldenRetriever: { indexedDB: { maxFileSize: 100 * MIB } },
  }
  await page.goto(`${origin}/?settings=${encodeURIComponent(JSON.stringify(settings))}`)
  const buttons: Record<'upload' | 'pause' | 'resume', Locator> = {
    upload: page.locator('.uppy-StatusBar-actionBtn--upload'),
    pause: page.locator('.uppy-StatusBar').getByTitle('Pause'),
    resume: page.locator('.uppy-StatusBar').getByTitle('Resume'),
  }
  return {
    page,
    async choose(files) {
      const folder = await useFolder()
      const chosen = Object.keys(files).map((file) => path.join(folder, file))
      await Promise.all(chosen.map((file) => writeFile(file, files[path.basename(file)] ?? '')))
      await page.locator('.uppy-Dashboard-input').first().setInputFiles(chosen)
      await eventually(
        () => lines.some((line) => line.includes(`[GoldenRetriever] Added ${chosen.length} blobs`)),
        'Golden Retriever keeps the files',
        PATIENCE_MS,
      )
    },
    press: (button) => buttons[button].click(),
    says: (words) => page.locator('.uppy-StatusBar').filter({ hasText: words }).waitFor(),
    picture,
    sent: listen(page, target),
  }
}

function listen(page: Page, target: string): Sent[] {
  const sent: Sent[] = []
  const ofTus = (url: string) => url.startsWith(`${target}/files`)
  const offsetIn = (headers: Record<string, string>) =>
    headers['upload-offset'] === undefined ? null : Number(headers['upload-offset'])
  page.on('request', (request) => {
    if (ofTus(request.url()) && request.method() !== 'HEAD')
      sent.push({ method: request.method(), offset: offsetIn(request.headers()) })
  })
  page.on('response', (response) => {
    if (ofTus(response.url()) && response.request().method() === 'HEAD')
      sent.push({ method: 'HEAD', offset: offsetIn(response.headers()) })
  })
  return sent
}

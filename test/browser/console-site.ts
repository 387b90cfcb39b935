import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, onTestFinished } from 'vitest'
import { MIB } from '../support/bytes.ts'
import { startTestServer, type TestServer } from '../support/server.ts'
import { launchChromium } from './chromium.ts'
import { buildConsole, PATIENCE_MS } from './console-page.ts'

interface ConsoleSite {
  browser(): Browser
  /** A server of a test, with the page; its chunks are of 1 MiB. */
  useServer(env?: Record<string, string>): Promise<TestServer>
}

/** A browser, and the page built once, for the tests of a file. */
export function useConsoleSite(chromium: string | null): ConsoleSite {
  let browser: Browser | undefined
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'console-'))
    await buildConsole(folder)
    browser = await launchChromium(chromium ?? '')
  }, PATIENCE_MS)
  afterAll(async () => {
    await browser?.close()
    await rm(folder, { recursive: true, force: true })
  })
  return {
    browser() {
      if (!browser) throw new Error('no browser before the tests')
      return browser
    },
    async useServer(env = {}) {
      const server = await startTestServer({ CHUNK_SIZE_BYTES: String(MIB), ...env }, undefined, folder)
      onTestFinished(() => server.close())
      return server
    },
  }
}

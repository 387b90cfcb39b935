import { existsSync } from 'node:fs'
import path from 'node:path'
import { chromium, type Browser } from 'playwright-core'

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser']

/** @returns the program, or null where there is none and the browser tests can't run */
export function findChromium(): string | null {
  const given = process.env['CHROMIUM_PATH']
  return (given ? [given] : PLACES).find((place) => existsSync(place)) ?? null
}

export const NO_CHROMIUM =
  `no Chromium at ${process.env['CHROMIUM_PATH'] ?? PLACES.join(' or ')} ` +
  '(apt-get install --no-install-recommends chromium, or set CHROMIUM_PATH)'

/** Where the pictures of the run go. */
export const ARTIFACTS = process.env['BROWSER_ARTIFACTS'] ?? path.join(import.meta.dirname, 'artifacts')

/** A headless browser with a profile of its own, that talks to nobody but the pages it is sent to. */
export const launchChromium = (executablePath: string): Promise<Browser> =>
  chromium.launch({
    executablePath,
    chromiumSandbox: false,
    timeout: 120_000,
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })

import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { isFresh } from './documents.ts'
import type { Handler } from './exchange.ts'

/** The reference: a page of our own that shows the OpenAPI document by Swagger UI, with nothing from elsewhere. */

// Every URL is relative, so that the page works behind a proxy that puts a prefix in front.
const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Upload server: reference</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="docs/ui.css">
  </head>
  <body>
    <main id="reference"></main>
    <noscript>This page needs JavaScript. The document itself is <a href="openapi.json">openapi.json</a>.</noscript>
    <script src="docs/ui.js"></script>
    <script src="docs/start.js"></script>
  </body>
</html>
`

const START = `SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#reference',
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  docExpansion: 'list',
  validatorUrl: null,
})
`

/** Scripts and requests stay with this host; Swagger UI sets styles in its markup. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

const GUARDS = { 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer' }

export const page =
  (): Handler =>
  ({ req, res }) => {
    // From there its relative URLs would lead elsewhere.
    if (req.path.endsWith('/')) res.status(308).location('../docs').end()
    else
      res
        .set({ ...GUARDS, 'Content-Security-Policy': POLICY })
        .type('html')
        .send(PAGE)
  }

export const start =
  (): Handler =>
  ({ res }) => {
    res.set(GUARDS).type('text/javascript').send(START)
  }

/** A file of Swagger UI, from its package. */
export const ui =
  (file: 'swagger-ui-bundle.js' | 'swagger-ui.css'): Handler =>
  async ({ req, res }) => {
    const { folder, version } = await swaggerUi()
    if (isFresh(req, res.set(GUARDS), `"${version}"`)) return
    const source = path.join(folder, file)
    res.type(file.endsWith('.css') ? 'text/css' : 'text/javascript')
    res.set('Content-Length', String((await stat(source)).size))
    if (req.method === 'HEAD') {
      res.end()
      return
    }
    try {
      await pipeline(createReadStream(source), res)
    } catch (error) {
      // A client that went away is no failure.
      if (!res.destroyed) throw error
    }
  }

/** Where the package lies, and which one it is: npm gives every file the same date. */
async function swaggerUi(): Promise<{ folder: string; version: string }> {
  const manifest = createRequire(import.meta.url).resolve('swagger-ui-dist/package.json')
  const { version } = JSON.parse(await readFile(manifest, 'utf8')) as { version: string }
  return { folder: path.dirname(manifest), version }
}

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { build } from 'esbuild'

export interface PageServer {
  /** where the page is at home: another origin than any server that a test starts */
  origin: string
  close(): Promise<void>
}

const TYPES: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' }

/** Bundles the page with Uppy and its styles, and serves it. */
export async function startPageServer(): Promise<PageServer> {
  const files = new Map([['/', await readFile(path.join(import.meta.dirname, 'dashboard.html'))]])
  const { outputFiles } = await build({
    entryPoints: ['dashboard.mjs', 'dashboard.css'].map((name) => path.join(import.meta.dirname, name)),
    outdir: '/',
    bundle: true,
    format: 'esm',
    write: false,
  })
  for (const { path: name, contents } of outputFiles) files.set(name, Buffer.from(contents))

  const server = createServer((req, res) => {
    const name = new URL(req.url ?? '/', 'http://page').pathname
    const type = TYPES[path.extname(name) || '.html'] ?? 'application/octet-stream'
    const content = files.get(name)
    res.writeHead(content ? 200 : 404, { 'Content-Type': `${type}; charset=utf-8` }).end(content)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

import { createHash } from 'node:crypto'
import type { Request, Response } from 'express'
import type { createDocument } from './api/document.ts'
import type { Handler } from './exchange.ts'

/**
 * The OpenAPI document of `table`, made when somebody first asks for it: what describes it is not even loaded
 * before.
 * @param table the routes that are served, once they are known
 */
export function openapi(table: () => Parameters<typeof createDocument>[0], version: string): Handler {
  const make = async () => {
    const { createDocument } = await import('./api/document.ts')
    return withTag(JSON.stringify(createDocument(table(), version)))
  }
  let made: ReturnType<typeof make> | undefined
  return async ({ req, res }) => {
    const { text, etag } = await (made ??= make())
    if (!isFresh(req, res, etag)) res.type('application/json').send(text)
  }
}

const withTag = (text: string) => ({
  text,
  etag: `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`,
})

/** Answers 304 where the client has it already (RFC 9110 section 13.1.2). */
export function isFresh(req: Request, res: Response, etag: string): boolean {
  res.set({ ETag: etag, 'Cache-Control': 'no-cache' })
  if (!req.fresh) return false
  res.status(304).end()
  return true
}

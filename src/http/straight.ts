import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Express } from 'express'

/** A route as the server's own requests and responses meet it. */
export type Serve = (req: IncomingMessage, res: ServerResponse, params: { id: string }) => Promise<void>

/**
 * Express, and past it the routes of what comes most often: its router, and the prototypes that it gives every
 * request and response, are a tenth of what a small file costs.
 * @param before looks at every request first; true when it is answered
 * @param straight by method and pattern, such as `PATCH /files/:id`
 */
export const straightOr =
  (
    express: Express,
    before: (req: IncomingMessage, res: ServerResponse) => boolean,
    straight: ReadonlyMap<string, Serve>,
  ): RequestListener =>
  (req, res) => {
    if (before(req, res)) return
    const path = plainTusPath(req.url ?? '')
    const serve = path && straight.get(`${req.method} ${path.pattern}`)
    // What fails is answered there; nobody can be told that not even that could be.
    if (serve) serve(req, res, { id: path.id }).catch(() => res.destroy())
    else express(req, res)
  }

/** The paths of tus where nothing has to be decoded or left off; null for all other URLs. */
function plainTusPath(url: string): { pattern: string; id: string } | null {
  if (url === '/files') return { pattern: url, id: '' }
  const id = /^\/files\/([0-9a-f-]{36})$/.exec(url)?.[1]
  return id === undefined ? null : { pattern: '/files/:id', id }
}

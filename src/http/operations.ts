import { createHash, timingSafeEqual } from 'node:crypto'
import { HttpError, unavailable } from '../core/errors.ts'
import type { Guard, Handler } from './exchange.ts'

/** What the process tells of itself. */
export interface Operations {
  version: string
  draining: () => boolean
  /** @throws when the database or the storage does not answer */
  check: () => Promise<void>
  renderMetrics: () => Promise<{ contentType: string; text: string }>
}

/** Alive: the event loop turns. */
export const health =
  (): Handler =>
  ({ res }) => {
    res.json({ status: 'ok' })
  }

/** Ready: database and storage answer, and the process is not on its way out. */
export const ready =
  ({ draining, check }: Operations): Handler =>
  async ({ res }) => {
    if (draining()) throw unavailable('The server is shutting down.')
    try {
      await check()
    } catch (error) {
      throw unavailable('The database or the storage does not answer.', error)
    }
    res.json({ status: 'ready' })
  }

export const version =
  (operations: Operations): Handler =>
  ({ res }) => {
    res.json({ version: operations.version })
  }

export const metrics =
  ({ renderMetrics }: Operations): Handler =>
  async ({ res }) => {
    const { contentType, text } = await renderMetrics()
    res.setHeader('Content-Type', contentType)
    res.end(text)
  }

const digest = (text: string) => createHash('sha256').update(text).digest()

/** Whoever holds the token, where one is set; else the network is the fence. */
export const scraper =
  (token: string | null): Guard =>
  ({ req }) => {
    if (token === null) return
    const given = /^bearer +(\S+)$/i.exec(req.get('authorization') ?? '')?.[1] ?? ''
    if (!timingSafeEqual(digest(given), digest(token)))
      throw new HttpError('missing_api_key', {
        detail: 'The metrics need their token.',
        headers: { 'WWW-Authenticate': 'Bearer' },
      })
  }

import { createHash, timingSafeEqual } from 'node:crypto'
import type { z } from 'zod'
import { HttpError, unavailable } from '../core/errors.ts'
import { bearerOf } from './auth.ts'
import type { Guard, Handler } from './exchange.ts'
import type { cleanupAnswer } from './operations-schemas.ts'

/** What the process tells of itself. */
export interface Operations {
  version: string
  draining: () => boolean
  /** @throws when the database or the storage does not answer */
  check: () => Promise<void>
  renderMetrics: () => Promise<{ contentType: string; text: string }>
  /** Does now what is done once a minute. */
  cleanUp: () => Promise<Cleanup>
}

/** What one clean-up did. */
export interface Cleanup {
  expiredUploads: number
  removedUploads: number
  removedObjects: number
  /** uploads that it could not clean up; they are tried again */
  failedUploads: number
  /** Idempotency-Keys whose time was over */
  forgottenKeys: number
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

/** Expiry and what deletions left behind, without waiting for the next minute. */
export const cleanup =
  ({ cleanUp }: Operations): Handler =>
  async ({ res }) => {
    const done = await cleanUp()
    const answer: z.output<typeof cleanupAnswer> = {
      status: 'ok',
      expired_uploads: done.expiredUploads,
      removed_uploads: done.removedUploads,
      removed_objects: done.removedObjects,
      failed_uploads: done.failedUploads,
      forgotten_keys: done.forgottenKeys,
    }
    res.json(answer)
  }

const digest = (text: string) => createHash('sha256').update(text).digest()

/** Whoever holds the token, where one is set; else the network is the fence. */
export const scraper =
  (token: string | null): Guard =>
  ({ req }) => {
    if (token === null) return
    const given = bearerOf(req.get('authorization')) ?? ''
    if (!timingSafeEqual(digest(given), digest(token)))
      throw new HttpError('missing_api_key', {
        detail: 'The metrics need their token.',
        headers: { 'WWW-Authenticate': 'Bearer' },
      })
  }

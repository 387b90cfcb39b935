import { z } from 'zod'
import { HttpError } from '../core/errors.ts'
import type { DeadLetter, Deliveries } from '../core/events.ts'
import { isUploadId } from '../core/upload.ts'
import type { Handler } from './exchange.ts'
import { parse } from './parse.ts'

/** What an administrator sees and does of events. */
export type DeadLetters = Pick<Deliveries, 'dead' | 'replay'>

const listRequest = z.object({
  limit: z
    .string()
    .regex(/^\d+$/, 'must be a whole number from 1 to 1000')
    .transform(Number)
    .pipe(z.number().min(1).max(1000))
    .default(50),
  cursor: z
    .string()
    .regex(/^\d{1,15}$/, 'must be one that was given out')
    .transform(Number)
    .optional(),
})

/** Events that were given up, the latest first. */
export const listDead =
  (letters: DeadLetters): Handler =>
  async ({ req, res }) => {
    const { limit, cursor } = parse(listRequest, req.query)
    // One more than asked for tells whether there is a next page.
    const found = await letters.dead(limit + 1, cursor)
    const page = found.slice(0, limit)
    const last = page.at(-1)
    res.json({
      dead: page.map(shown),
      next_cursor: found.length > limit && last ? String(last.seq) : null,
    })
  }

/** Has an event that was given up sent again, to those who did not get it. */
export const replay =
  (letters: DeadLetters): Handler =>
  async ({ req, res }) => {
    const id = req.params['event_id']
    // Event ids are UUIDs, too.
    const receivers = typeof id === 'string' && isUploadId(id) ? await letters.replay(id) : 0
    if (receivers === 0) throw new HttpError('not_found')
    res.status(202).json({ event_id: id, receivers })
  }

/** A query may be what a receiver knows us by, so it stays here. */
const shown = ({ endpoint, event, attempts, lastError, lastAttemptAt }: DeadLetter) => ({
  receiver: endpoint.replace(/\?.*$/s, ''),
  attempts,
  last_error: lastError,
  last_attempt_at: lastAttemptAt?.toISOString() ?? null,
  event,
})

import type { z } from 'zod'
import { HttpError } from '../core/errors.ts'
import type { DeadLetter, Deliveries } from '../core/events.ts'
import { isUploadId } from '../core/upload.ts'
import type { Handler } from './exchange.ts'
import { parse } from './parse.ts'
import { deadListRequest, type deadListAnswer, type replayAnswer } from './webhook-schemas.ts'

/** What an administrator sees and does of events. */
export type DeadLetters = Pick<Deliveries, 'dead' | 'replay'>

/** Events that were given up, the latest first. */
export const listDead =
  (letters: DeadLetters): Handler =>
  async ({ req, res }) => {
    const { limit, cursor } = parse(deadListRequest, req.query)
    // One more than asked for tells whether there is a next page.
    const found = await letters.dead(limit + 1, cursor === undefined ? undefined : Number(cursor))
    const page = found.slice(0, limit)
    const last = page.at(-1)
    const answer: z.output<typeof deadListAnswer> = {
      dead: page.map(shown),
      next_cursor: found.length > limit && last ? String(last.seq) : null,
    }
    res.json(answer)
  }

/** Has an event that was given up sent again, to those who did not get it. */
export const replay =
  (letters: DeadLetters): Handler =>
  async ({ req, res }) => {
    const id = String(req.params['event_id'])
    // Event ids are UUIDs, too.
    const receivers = isUploadId(id) ? await letters.replay(id) : 0
    if (receivers === 0) throw new HttpError('not_found')
    const answer: z.output<typeof replayAnswer> = { event_id: id, receivers }
    res.status(202).json(answer)
  }

/** A query may be what a receiver knows us by, so it stays here. */
const shown = ({ endpoint, event, attempts, lastError, lastAttemptAt }: DeadLetter) => ({
  receiver: endpoint.replace(/\?.*$/s, ''),
  attempts,
  last_error: lastError,
  last_attempt_at: lastAttemptAt?.toISOString() ?? null,
  event,
})

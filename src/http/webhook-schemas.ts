import { z } from 'zod'
import { EVENT_TYPES } from '../core/events.ts'
import { listRequest as uploadListRequest, uploadView } from './native-schemas.ts'

/** Events as receivers get them, and what administrators see and do of those that were given up. */

const receivers = z.number().int().nonnegative()

export const uploadEvent = z
  .object({
    id: z.uuid().describe('The same at every attempt, and at every receiver.'),
    type: z.enum(EVENT_TYPES),
    occurred_at: z.iso.datetime(),
    data: uploadView.extend({
      user_id: z.string(),
      failure_reason: z.string().optional().describe('Of `upload.failed`.'),
    }),
  })
  .meta({ id: 'UploadEvent', description: 'What became of an upload, which is shown as it is since.' })

export const deadListRequest = z.object({
  limit: uploadListRequest.shape.limit.describe('How many events a page has at most.'),
  cursor: z
    .string()
    .regex(/^\d{1,15}$/, 'must be one that was given out')
    .optional()
    .describe('`next_cursor` of the page before.'),
})

export const deadListAnswer = z
  .object({
    dead: z.array(
      z.object({
        receiver: z.string().describe('Its URL, without the query.'),
        attempts: z.number().int().nonnegative(),
        last_error: z.string().nullable(),
        last_attempt_at: z.iso.datetime().nullable(),
        event: uploadEvent,
      }),
    ),
    next_cursor: z.string().nullable().describe('null on the last page.'),
  })
  .meta({ id: 'DeadEventPage', description: 'Events that were given up, the latest first.' })

export const replayAnswer = z
  .object({ event_id: z.uuid(), receivers: receivers.describe('How many get it again.') })
  .meta({ id: 'ReplayAnswer', description: 'An event that is sent again.' })

import { z } from 'zod'

/** What the routes of operations answer. */

const count = z.number().int().nonnegative()

export const healthAnswer = z
  .object({ status: z.literal('ok') })
  .meta({ id: 'Health', description: 'A process that lives.' })
export const readyAnswer = z
  .object({ status: z.literal('ready') })
  .meta({ id: 'Readiness', description: 'A process that can serve.' })
export const versionAnswer = z
  .object({ version: z.string() })
  .meta({ id: 'Version', description: 'The version of the server.' })

export const cleanupAnswer = z
  .object({
    status: z.literal('ok'),
    expired_uploads: count,
    removed_uploads: count.describe('Rows of deleted uploads, and of tombstones that are old enough.'),
    removed_objects: count.describe('Uploads whose bytes went.'),
    failed_uploads: count.describe('Those that could not be cleaned up; they are tried again.'),
    forgotten_keys: count.describe('Idempotency-Keys whose time was over.'),
  })
  .meta({ id: 'Cleanup', description: 'What one clean-up did.' })

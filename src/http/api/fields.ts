import { z } from 'zod'
import { THROTTLE_REASONS } from '../../core/errors.ts'
import { bytes } from '../native-schemas.ts'

/** Headers that several operations have. */

export const date = z.string().describe('A date as HTTP has it (RFC 9110 section 5.6.7).')
export const url = z.string().describe('A URL, absolute or relative.')

export const retryAfter = z.number().int().positive().describe('Seconds to wait before trying again.')
export const rateLimitReason = z.enum(THROTTLE_REASONS).describe('Which limit was met.')
export const challenge = z.literal('Bearer')

export const uploadLength = bytes.describe('Bytes of the whole file.')
export const uploadOffset = bytes.describe('How many bytes of the file are there, from its start.')
export const uploadExpires = date.describe('When an unfinished upload is given up unless bytes come.')

export const idempotencyKey = z
  .string()
  .regex(/^[\x20-\x7e]{1,255}$/)
  .describe('A name of the client’s choice for this request: asked again under it, the request is done once.')
  .optional()

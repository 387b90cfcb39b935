import type { z } from 'zod'
import { HttpError } from '../core/errors.ts'

/** @throws {HttpError} unprocessable 422 that names the first field that is wrong */
export function parse<T extends z.ZodType>(schema: T, value: unknown): z.output<T> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new HttpError('unprocessable', {
    detail: `${issue?.path.join('.') || 'body'}: ${issue?.message ?? 'is not valid'}`,
  })
}

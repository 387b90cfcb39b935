import { z } from 'zod'
import { ERROR_CODES, statusOf, wordsOf, type ErrorCode } from '../core/errors.ts'
import { nativeCode } from './errors.ts'

/** Whom a body broke off for can't be told, and a checksum of tus is for tus. */
const UNTOLD = new Set<ErrorCode>(['client_closed', 'checksum_mismatch'])

const told = ERROR_CODES.filter((code) => nativeCode(code) === code && !UNTOLD.has(code))

const table = [
  '| error_code | status | |',
  '| --- | --- | --- |',
  ...told.map((code) => `| \`${code}\` | ${statusOf(code)} | ${wordsOf(code)} |`),
].join('\n')

export const errorAnswer = z
  .object({
    detail: z.string().describe('What is wrong, for people.'),
    error_code: z.enum(told).describe(`What is wrong, for programs.\n\n${table}`),
    request_id: z.string().describe('The `X-Request-ID` of the answer.'),
    upload_id: z.uuid().nullable().describe('The upload that it is about, where there is one.'),
    trace_id: z.string().nullable(),
  })
  .meta({ id: 'Error', description: 'Why a request was refused or failed.' })

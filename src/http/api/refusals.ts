import { z } from 'zod'
import { statusOf, wordsOf, type ErrorCode } from '../../core/errors.ts'
import { TUS_VERSION } from '../../core/tus.ts'
import { nativeCode, tusStatus } from '../errors.ts'
import { bytes } from '../native-schemas.ts'
import { challenge, rateLimitReason, retryAfter } from './fields.ts'
import type { Fields, Group, Operation } from './operation.ts'

/** What an operation answers where it refuses or fails with one status. */
export interface Refusal {
  words: string
  headers: Fields
  /** the codes that the JSON may have; null where the answer is text, or none */
  codes: ErrorCode[] | null
  /** whether there is a body */
  told: boolean
  /** whether a browser gets a page instead */
  paged: boolean
}

/** The upload may be that of the path, or of an upload token, which is looked at before it is refused. */
const KEYED: readonly ErrorCode[] = [
  'missing_api_key',
  'forbidden',
  'not_found',
  'gone',
  'throttled',
  'unavailable',
]

/** What goes with a way of coming in. */
const BY_WHO: Readonly<Record<Operation['who'], readonly ErrorCode[]>> = {
  anybody: [],
  link: ['not_found', 'gone', 'throttled', 'unavailable'],
  scraper: ['missing_api_key'],
  user: KEYED,
  admin: KEYED,
  sender: KEYED,
  owner: KEYED,
}
const ALWAYS: readonly ErrorCode[] = ['expectation_failed', 'internal_error']

const NO_TOKEN = 'An upload token is not enough.'
const TOKEN_OF_NOTHING = 'The upload of the upload token is not there any more.'
const AS_WHO: Readonly<Record<Operation['who'], Readonly<Partial<Record<ErrorCode, string>>>>> = {
  anybody: {},
  link: {
    not_found: 'No such link, or its upload was deleted.',
    gone: 'The link or its upload has expired.',
  },
  scraper: { missing_api_key: 'The metrics need their token.' },
  user: { forbidden: NO_TOKEN, not_found: TOKEN_OF_NOTHING, gone: TOKEN_OF_NOTHING },
  admin: {
    forbidden: 'This is for administrators.',
    not_found: TOKEN_OF_NOTHING,
    gone: TOKEN_OF_NOTHING,
  },
  sender: { forbidden: 'The upload belongs to somebody else, or the upload token is for another one.' },
  owner: { forbidden: `The upload belongs to somebody else. Or: ${NO_TOKEN}` },
}

/** Every status with which an operation may refuse or fail. */
export function refusalsOf(
  method: string,
  { who, errors = {} }: Operation,
  dialect: Group['errors'],
): Map<number, Refusal> {
  const given = Object.keys(errors) as ErrorCode[]
  const codes = [...new Set([...BY_WHO[who], ...given, ...ALWAYS])]
  const wordsFor = (code: ErrorCode): string => {
    const words = errors[code] ?? true
    return words === true ? (AS_WHO[who][code] ?? wordsOf(code)) : words
  }
  const statusFor = (code: ErrorCode) =>
    dialect === 'tus' ? tusStatus(method, statusOf(code)) : statusOf(nativeCode(code))
  return new Map(
    [...new Set(codes.map(statusFor))].map((status) => {
      const those = codes.filter((code) => statusFor(code) === status)
      const refusal: Refusal = {
        words: [...new Set(those.map(wordsFor))].join(' Or: '),
        headers: {
          ...headersOf(those, status, dialect),
          ...(who === 'link' && {
            Vary: z.string(),
            'Content-Security-Policy': z.string().optional().describe('On a page.'),
          }),
        },
        codes: dialect === 'native' && method !== 'HEAD' ? [...new Set(those.map(nativeCode))] : null,
        told: method !== 'HEAD',
        paged: who === 'link' && method !== 'HEAD',
      }
      return [status, refusal]
    }),
  )
}

const HEADERS: Readonly<Partial<Record<ErrorCode, Fields>>> = {
  missing_api_key: { 'WWW-Authenticate': challenge },
  throttled: { 'Retry-After': retryAfter, 'X-RateLimit-Reason': rateLimitReason },
  unavailable: { 'Retry-After': retryAfter },
  locked: { 'Retry-After': retryAfter },
  payload_too_large: { 'Tus-Max-Size': bytes.optional().describe('`MAX_UPLOAD_BYTES`, where that is why.') },
  range_not_satisfiable: { 'Content-Range': z.string().describe('`bytes */` and the size of the file.') },
}

const TUS_HEADERS: Readonly<Record<number, Fields>> = {
  412: { 'Tus-Version': z.literal(TUS_VERSION) },
  413: {
    Location: z.string().optional().describe('The upload that was created, though its body was too long.'),
  },
}

/** A header that not every code of the status brings is optional. */
function headersOf(codes: ErrorCode[], status: number, dialect: Group['errors']): Fields {
  const told = codes.flatMap((code) => Object.entries(HEADERS[code] ?? {}))
  const fields = told.map(([name, schema]) => {
    const always = codes.every((code) => name in (HEADERS[code] ?? {}))
    return [name, always ? schema : schema.optional()] as const
  })
  return {
    ...Object.fromEntries(fields),
    ...(dialect === 'tus' && { 'Tus-Resumable': z.literal(TUS_VERSION), ...TUS_HEADERS[status] }),
  }
}

import { z } from 'zod'
import { bytes } from '../native-schemas.ts'
import { date, url } from './fields.ts'
import type { Fields, Operation } from './operation.ts'

/** Any media type: the file's own. */
const FILE = '*/*'

const entityTag = z.string().describe('The entity tag of the file. It never changes.')

const validators: Fields = {
  ETag: entityTag,
  'Last-Modified': date,
  'Cache-Control': z.literal('private, no-cache'),
}

const file: Fields = {
  ...validators,
  'Accept-Ranges': z.literal('bytes'),
  'Content-Disposition': z.string().describe('With the name of the file (RFC 6266).'),
  'Content-Length': bytes,
  'Content-Security-Policy': z.string(),
  'X-Content-Type-Options': z.literal('nosniff'),
}

const conditions: Fields = {
  'If-None-Match': z.string().optional().describe('Entity tags: 304 where the file has one of them.'),
  'If-Modified-Since': date.optional(),
  'If-Match': z.string().optional().describe('Entity tags: 412 unless the file has one of them.'),
  'If-Unmodified-Since': date.optional(),
}

const refusals: Operation['errors'] = {
  conflict: 'The upload is not complete.',
  gone: 'The upload has expired.',
  precondition_failed: 'The file is not the one that the request is about.',
}

type Described = Omit<Operation, 'id'>

/** GET and HEAD of a file, for whoever may come, with the headers that go with that. */
const downloadBy = (who: Operation['who'], more: Fields): { get: Described; head: Described } => ({
  get: {
    summary: 'Download the file, or ranges of it',
    description: 'Ranges and conditions by RFC 9110. More than 32 ranges are answered with the whole file.',
    who,
    headers: {
      ...conditions,
      Range: z.string().optional().describe('Such as `bytes=0-499`, `bytes=-500` or `bytes=0-0,-1`.'),
      'If-Range': z
        .string()
        .optional()
        .describe('An entity tag or date: the range counts only where it fits.'),
    },
    replies: {
      200: { words: 'The file.', headers: { ...file, ...more }, content: FILE },
      206: {
        words: 'The range, or several as `multipart/byteranges`.',
        headers: {
          ...file,
          ...more,
          'Content-Range': z.string().optional().describe('Such as `bytes 0-499/1234`, of a single range.'),
        },
        content: FILE,
      },
      302: {
        words: 'Where the storage gives the bytes, with `DOWNLOAD_REDIRECT=presigned`.',
        headers: { Location: url, 'Cache-Control': z.literal('no-store') },
      },
      304: { words: 'What the client has is still the file.', headers: { ...validators, ...more } },
    },
    errors: { ...refusals, range_not_satisfiable: true },
  },
  head: {
    summary: 'Tell what a download would give',
    who,
    headers: conditions,
    replies: {
      200: { words: 'The headers of the whole file.', headers: { ...file, ...more } },
      304: { words: 'What the client has is still the file.', headers: { ...validators, ...more } },
    },
    errors: refusals,
  },
})

/** Both dialects give a file in the same way. */
export const DOWNLOAD = downloadBy('owner', { 'Cross-Origin-Resource-Policy': z.literal('same-origin') })

/** Who follows a link may come from any page. */
export const LINKED = downloadBy('link', {
  'Cross-Origin-Resource-Policy': z.literal('cross-origin'),
  'Referrer-Policy': z.literal('no-referrer'),
})

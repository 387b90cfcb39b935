import { z } from 'zod'
import { APPEND_TYPE, TUS_VERSION } from '../../core/tus.ts'
import { CHECKSUM_ALGORITHMS } from '../checksum.ts'
import { bytes } from '../native-schemas.ts'
import { DOWNLOAD } from './download.ts'
import { uploadExpires, uploadLength, uploadOffset, url } from './fields.ts'
import type { Fields, Group } from './operation.ts'

const version = z.literal(TUS_VERSION).describe('The version of the protocol.')
const spoken: Fields = { 'Tus-Resumable': version }

const uploadMetadata = z
  .string()
  .optional()
  .describe('Pairs of a key and base64, separated by commas; `filename` and `filetype` name the file.')
const uploadConcat = z.string().optional().describe('`partial`, or `final;` and the URLs of the parts.')
const uploadDeferLength = z.literal('1').optional().describe('The length is not known yet.')
const uploadChecksum = z
  .string()
  .optional()
  .describe(
    `One of ${CHECKSUM_ALGORITHMS.join(', ')}, a space, and the base64 of the body's digest. It may come ` +
      'in a trailer.',
  )
const contentLength = bytes.optional()

const LOCKED = 'Another request is writing to this upload, or it is being completed: try again.'
const EXPIRED = 'The upload has expired, or has failed for good.'
const MALFORMED = 'A header is malformed.'

export const tusGroup: Group = {
  name: 'tus',
  description:
    'The tus protocol, 1.0 ([tus.io/protocols/resumable-upload](https://tus.io/protocols/resumable-upload)), ' +
    'with the extensions that OPTIONS tells. Errors are plain text. What the native API answers with 429 is ' +
    '503 here, and on HEAD everything that may pass is 423, because the common tus clients try again on ' +
    'these. A POST to an upload, with `X-HTTP-Method-Override`, stands for PATCH, DELETE or HEAD.',
  errors: 'tus',
  operations: {
    'OPTIONS /files{/:id}': {
      id: 'tusOptions',
      summary: 'Tell what of tus is spoken here',
      who: 'anybody',
      replies: {
        204: {
          words: 'The abilities of the server.',
          headers: {
            ...spoken,
            'Tus-Version': z.literal(TUS_VERSION),
            'Tus-Extension': z.string(),
            'Tus-Max-Size': bytes.describe('`MAX_UPLOAD_BYTES`'),
            'Tus-Checksum-Algorithm': z.string(),
          },
        },
      },
      errors: { unavailable: 'The process is shutting down.' },
    },
    'POST /files': {
      id: 'tusCreate',
      summary: 'Create an upload, with its first bytes or without',
      who: 'user',
      headers: {
        ...spoken,
        'Upload-Length': uploadLength.optional(),
        'Upload-Defer-Length': uploadDeferLength,
        'Upload-Metadata': uploadMetadata,
        'Upload-Concat': uploadConcat,
        'Upload-Checksum': uploadChecksum,
      },
      body: { content: APPEND_TYPE, optional: true },
      replies: {
        201: {
          words: 'Created. What was taken of a body is in `Upload-Offset`.',
          headers: {
            ...spoken,
            Location: url.describe('The upload.'),
            'Upload-Offset': uploadOffset.optional(),
            'Upload-Expires': uploadExpires.optional(),
            'Content-Length': contentLength,
          },
        },
      },
      errors: {
        bad_request: MALFORMED,
        forbidden: 'Upload-Concat names an upload of somebody else.',
        not_found: 'Upload-Concat names an upload that is not there.',
        conflict: 'Upload-Concat names an upload that is not finished.',
        gone: 'Upload-Concat names an upload that has expired.',
        precondition_failed: true,
        payload_too_large:
          'The file is over MAX_UPLOAD_BYTES, or takes its owner over their quota; or the body goes past it.',
        unprocessable: true,
        locked: true,
        checksum_mismatch: true,
        throttled: true,
        insufficient_storage: true,
        storage_lost: true,
      },
    },
    'HEAD /files/:id': {
      id: 'tusHead',
      summary: 'Tell from which offset to go on',
      who: 'sender',
      headers: spoken,
      replies: {
        200: {
          words: 'Where the upload stands.',
          headers: {
            ...spoken,
            'Cache-Control': z.literal('no-store'),
            'Upload-Offset': uploadOffset,
            'Upload-Length': uploadLength.optional(),
            'Upload-Defer-Length': uploadDeferLength,
            'Upload-Metadata': uploadMetadata,
            'Upload-Concat': uploadConcat,
            'Upload-Expires': uploadExpires.optional(),
          },
        },
      },
      errors: { bad_request: MALFORMED, gone: EXPIRED, precondition_failed: true, locked: LOCKED },
    },
    'PATCH /files/:id': {
      id: 'tusAppend',
      summary: 'Send bytes from the offset on',
      description:
        'What arrived before the connection broke counts, unless it had to fit a checksum. The answer tells ' +
        'the offset of the request plus the bytes that it brought; HEAD may tell more, where chunks that ' +
        'came by their index follow.',
      who: 'sender',
      headers: {
        ...spoken,
        'Upload-Offset': uploadOffset,
        'Upload-Length': uploadLength.optional(),
        'Upload-Checksum': uploadChecksum,
      },
      body: { content: APPEND_TYPE },
      replies: {
        204: {
          words: 'The bytes are stored.',
          headers: {
            ...spoken,
            'Upload-Offset': uploadOffset,
            'Upload-Expires': uploadExpires.optional(),
          },
        },
      },
      errors: {
        bad_request: MALFORMED,
        forbidden:
          'The upload belongs to somebody else, the upload token is for another one, or the upload is a final ' +
          'one, which takes no bytes.',
        offset_mismatch: true,
        conflict: true,
        storage_lost: true,
        gone: EXPIRED,
        precondition_failed: true,
        payload_too_large: 'The body goes past the end of the upload, or the upload past its owner’s quota.',
        invalid_patch_type: true,
        locked: LOCKED,
        checksum_mismatch: true,
        throttled: true,
        insufficient_storage: true,
      },
    },
    'DELETE /files/:id': {
      id: 'tusTerminate',
      summary: 'Delete an upload, finished or not',
      who: 'owner',
      headers: spoken,
      replies: { 204: { words: 'Gone, and its bytes with it.', headers: spoken } },
      errors: {
        bad_request: MALFORMED,
        conflict: true,
        gone: EXPIRED,
        precondition_failed: true,
        locked: LOCKED,
      },
    },
    'GET /files/:id': {
      ...DOWNLOAD.get,
      id: 'tusDownload',
      description: 'tus leaves GET open. It is the download of the native API, without `Tus-Resumable`.',
    },
  },
}

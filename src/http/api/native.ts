import { z } from 'zod'
import {
  chunkAnswer,
  completeAnswer,
  initAnswer,
  initRequest,
  listAnswer,
  listRequest,
  missingChunksAnswer,
  uploadView,
} from '../native-schemas.ts'
import { DOWNLOAD } from './download.ts'
import { idempotencyKey } from './fields.ts'
import type { Group } from './operation.ts'

const idempotency = { 'Idempotency-Key': idempotencyKey }
const ANOTHER_REQUEST = 'the Idempotency-Key stands for another request'
const EXPIRED = 'The upload has expired. It is forgotten after seven days.'

export const nativeGroup: Group = {
  name: 'Chunks',
  description:
    'Numbered chunks, in any order and in parallel. Chunk i has the bytes from `i * chunk_size` up to, but ' +
    'not including, `(i + 1) * chunk_size`; the last one ends with the file.',
  errors: 'native',
  operations: {
    'POST /v1/uploads/init': {
      id: 'initUpload',
      summary: 'Create an upload',
      description: 'It costs no room yet: nothing is stored before the first chunk.',
      who: 'user',
      headers: idempotency,
      body: { content: initRequest },
      replies: {
        201: {
          words: 'Created; or, under the same Idempotency-Key, what was created before.',
          headers: {
            Location: z.string().describe('The upload.'),
            'X-Tus-Location': z.string().describe('The same upload, as tus knows it.'),
          },
          content: initAnswer,
        },
      },
      errors: {
        bad_request: 'The body is not JSON, or a header is malformed.',
        conflict: `Not created: ${ANOTHER_REQUEST}.`,
        payload_too_large: 'The file is over MAX_UPLOAD_BYTES, or takes its owner over their quota.',
        unsupported_media_type: true,
        unprocessable: 'A field has a value that is not allowed; `detail` names it.',
        insufficient_storage: true,
      },
    },
    'GET /v1/uploads': {
      id: 'listUploads',
      summary: 'List the caller’s own uploads, newest first',
      who: 'user',
      query: listRequest,
      replies: { 200: { words: 'A page of them.', content: listAnswer } },
      errors: { unprocessable: 'A parameter has a value that is not allowed; `detail` names it.' },
    },
    'GET /v1/uploads/:id': {
      id: 'showUpload',
      summary: 'Show an upload',
      who: 'sender',
      replies: { 200: { words: 'The upload.', content: uploadView } },
      errors: { gone: EXPIRED },
    },
    'DELETE /v1/uploads/:id': {
      id: 'removeUpload',
      summary: 'Delete an upload, finished or not',
      who: 'owner',
      replies: { 204: { words: 'Gone, and its bytes with it.' } },
      errors: { conflict: 'The upload is being completed.', gone: EXPIRED, locked: true },
    },
    'PUT /v1/uploads/:id/chunks/:index': {
      id: 'putChunk',
      summary: 'Send a chunk',
      description:
        'The body is the bytes of the chunk, and all of them: one that breaks off counts nothing. A chunk ' +
        'that is stored may come again with the same bytes. With `Expect: 100-continue` a refused body is ' +
        'never sent.',
      who: 'sender',
      headers: {
        ...idempotency,
        'X-Chunk-SHA256': z
          .string()
          .regex(/^[0-9a-fA-F]{64}$/)
          .optional()
          .describe('What the bytes must have for their SHA-256.'),
        'Content-Digest': z.string().optional().describe('The same, as `sha-256=:<base64>:` (RFC 9530).'),
      },
      body: { content: 'application/octet-stream' },
      replies: { 202: { words: 'The chunk is stored.', content: chunkAnswer } },
      errors: {
        bad_request:
          'There is no such chunk, the body is not as long as the chunk, or it has another digest than announced.',
        conflict: `Other bytes are stored already, or the upload takes no more, or ${ANOTHER_REQUEST}.`,
        gone: EXPIRED,
        payload_too_large: 'The body goes past the chunk, or the upload past its owner’s quota.',
        locked: true,
        insufficient_storage: true,
        storage_lost: true,
      },
    },
    'DELETE /v1/uploads/:id/chunks/:index': {
      id: 'freeChunk',
      summary: 'Free a chunk of an unfinished upload, so that other bytes may come',
      who: 'owner',
      replies: { 204: { words: 'The chunk is missing now.' } },
      errors: {
        bad_request: 'There is no such chunk.',
        conflict: 'The upload is not open any more.',
        gone: EXPIRED,
        locked: true,
      },
    },
    'GET /v1/uploads/:id/missing-chunks': {
      id: 'missingChunks',
      summary: 'Tell which chunks are missing',
      description: 'This is how a client resumes.',
      who: 'sender',
      replies: { 200: { words: 'Their indexes.', content: missingChunksAnswer } },
      errors: { gone: EXPIRED },
    },
    'POST /v1/uploads/:id/complete': {
      id: 'completeUpload',
      summary: 'Complete an upload whose chunks are all there',
      description: 'May be repeated: a completed upload answers the same again.',
      who: 'sender',
      headers: idempotency,
      replies: { 200: { words: 'The file can be downloaded.', content: completeAnswer } },
      errors: {
        bad_request: 'A header is malformed.',
        conflict:
          'Chunks are missing, the size is not known yet, the file has another checksum than announced, the ' +
          `upload has failed for good, or ${ANOTHER_REQUEST}.`,
        gone: EXPIRED,
        locked: true,
        insufficient_storage: true,
        storage_lost: true,
      },
    },
    'HEAD /v1/uploads/:id/download': { ...DOWNLOAD.head, id: 'headDownload' },
    'GET /v1/uploads/:id/download': { ...DOWNLOAD.get, id: 'download' },
  },
}

import { linkAnswer, linkRequest, tokenAnswer, tokenRequest } from '../sharing-schemas.ts'
import { LINKED } from './download.ts'
import type { Group, Operation } from './operation.ts'

const ofJson: Operation['errors'] = {
  bad_request: 'The body is not JSON.',
  payload_too_large: 'The JSON is longer than 64 KiB.',
  unsupported_media_type: true,
  unprocessable: 'A field has a value that is not allowed; `detail` names it.',
}

export const sharingGroup: Group = {
  name: 'Sharing',
  description: 'For those who have no key: a link gives one file, an upload token sends one.',
  errors: 'native',
  operations: {
    'POST /v1/uploads/:id/links': {
      id: 'makeLink',
      summary: 'Make a link by which anybody downloads the file, for a while',
      description:
        'The upload need not be complete yet. Links are not kept: none can be taken back by itself.',
      who: 'owner',
      body: { content: linkRequest, optional: true },
      replies: { 201: { words: 'The link.', content: linkAnswer } },
      errors: ofJson,
    },
    'POST /v1/uploads/:id/tokens': {
      id: 'makeUploadToken',
      summary: 'Make a token by which its holder sends this upload, and does nothing else',
      description:
        'It lets its holder see the upload, send its bytes in either dialect, and complete it; not download ' +
        'or delete it, nor free chunks. What is sent counts as the owner’s.',
      who: 'owner',
      body: { content: tokenRequest, optional: true },
      replies: { 201: { words: 'The token.', content: tokenAnswer } },
      errors: { ...ofJson, conflict: 'The upload takes no more bytes.' },
    },
    'HEAD /v1/links/:token': { ...LINKED.head, id: 'headLink' },
    'GET /v1/links/:token': { ...LINKED.get, id: 'followLink' },
  },
}

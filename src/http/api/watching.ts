import { z } from 'zod'
import { limitsAnswer, listReady, loadView, uploadGone, uploadProgress } from '../watching-schemas.ts'
import type { Fields, Group, Reply } from './operation.ts'

const HEADERS: Fields = {
  'Cache-Control': z.literal('no-store'),
  'X-Content-Type-Options': z.literal('nosniff'),
  'X-Accel-Buffering': z.literal('no').describe('nginx would gather the events.'),
}

const streamOf = (events: Reply['events'] & {}): Reply => ({
  words: 'A stream that stays open.',
  headers: HEADERS,
  content: 'text/event-stream',
  events,
})

const COMMON =
  'Server-sent events; the data of each is JSON of the schema that is named here. A comment comes every 15 ' +
  'seconds, and the stream ends after 15 minutes: open it again, and it begins with how things are then. A ' +
  'client that reads too slowly is told the newest only. A user has eight streams at a time at most, and so have all tokens for one upload together.'

export const watchingGroup: Group = {
  name: 'Watching',
  description: 'How uploads get on, while they do.',
  errors: 'native',
  operations: {
    'GET /v1/uploads/:id/events': {
      id: 'watchUpload',
      summary: 'Watch one upload until it is finished or gone',
      description:
        '`upload` (`UploadProgress`) at once and with each change; at last `end` or `removed` (`UploadGone`): ' +
        `it is finished, or it was deleted or has expired.\n\n${COMMON}`,
      who: 'sender',
      replies: { 200: streamOf({ upload: uploadProgress, end: uploadGone, removed: uploadGone }) },
    },
    'GET /v1/events': {
      id: 'watchUploads',
      summary: 'Watch the caller’s newest 50 uploads',
      description:
        '`upload` (`UploadProgress`) for each that is there, then `ready` (`ListReady`), then `upload` for ' +
        'what is new or changes, and `removed` (`UploadGone`); `load` (`Load`) at once and when it changes.' +
        `\n\n${COMMON}`,
      who: 'user',
      replies: {
        200: streamOf({ upload: uploadProgress, ready: listReady, removed: uploadGone, load: loadView }),
      },
    },
    'GET /v1/limits': {
      id: 'showLimits',
      summary: 'Tell the limits that hold for the caller',
      who: 'user',
      replies: {
        200: {
          words: 'The limits, and the load of the process that answers.',
          headers: { 'Cache-Control': z.literal('no-store') },
          content: limitsAnswer,
        },
      },
    },
  },
}

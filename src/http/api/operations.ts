import { deadListAnswer, deadListRequest, replayAnswer } from '../webhook-schemas.ts'
import { cleanupAnswer, healthAnswer, readyAnswer, versionAnswer } from '../operations-schemas.ts'
import type { Group } from './operation.ts'

export const operationsGroup: Group = {
  name: 'Operations',
  description: 'What runs the server, and what tells how it is.',
  errors: 'native',
  operations: {
    'POST /v1/admin/cleanup': {
      id: 'cleanup',
      summary: 'Expire what has to, and remove what deletions left behind, now',
      description: 'For users in `ADMIN_USER_IDS`. It happens by itself every `REAP_INTERVAL_SECONDS`.',
      who: 'admin',
      replies: { 200: { words: 'What came of it.', content: cleanupAnswer } },
    },
    'GET /v1/admin/webhooks/dead': {
      id: 'listDeadEvents',
      summary: 'List events that were given up, the latest first',
      description:
        'For users in `ADMIN_USER_IDS`. An event stands here once for each receiver that did not get it.',
      who: 'admin',
      query: deadListRequest,
      replies: { 200: { words: 'A page of them.', content: deadListAnswer } },
      errors: { unprocessable: 'A parameter has a value that is not allowed; `detail` names it.' },
    },
    'POST /v1/admin/webhooks/:event_id/replay': {
      id: 'replayEvent',
      summary: 'Have an event that was given up sent again',
      description: 'For users in `ADMIN_USER_IDS`. It goes to the receivers that did not get it.',
      who: 'admin',
      replies: { 202: { words: 'It is sent.', content: replayAnswer } },
      errors: { not_found: 'No such event was given up.' },
    },
    'GET /health': {
      id: 'health',
      summary: 'Tell whether the process lives',
      who: 'anybody',
      replies: { 200: { words: 'It does.', content: healthAnswer } },
    },
    'GET /ready': {
      id: 'ready',
      summary: 'Tell whether requests can be served',
      who: 'anybody',
      replies: { 200: { words: 'Database and storage answer.', content: readyAnswer } },
      errors: { unavailable: 'Database or storage do not answer, or the process is shutting down.' },
    },
    'GET /version': {
      id: 'version',
      summary: 'Tell the version of the server',
      who: 'anybody',
      replies: { 200: { words: 'The version.', content: versionAnswer } },
    },
    'GET /metrics': {
      id: 'metrics',
      summary: 'Give the metrics',
      description: 'Of this process alone. They need `METRICS_TOKEN` where that is set.',
      who: 'scraper',
      replies: {
        200: {
          words: 'In the text format of Prometheus.',
          content: 'text/plain',
        },
      },
    },
  },
}

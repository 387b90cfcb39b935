import { z } from 'zod'
import type { Fields, Group, Operation } from './operation.ts'

const cached: Fields = {
  'Cache-Control': z.literal('no-cache'),
  ETag: z.string(),
}
const guarded: Fields = {
  'X-Content-Type-Options': z.literal('nosniff'),
  'Referrer-Policy': z.literal('no-referrer'),
}

const errors: Operation['errors'] = { unavailable: 'The process is shutting down.' }

const asset = (id: string, summary: string, type: string): Operation => ({
  id,
  summary,
  who: 'anybody',
  replies: {
    200: { words: 'The file.', headers: { ...cached, ...guarded }, content: type },
    304: { words: 'What the client has is still the file.', headers: { ...cached, ...guarded } },
  },
  errors,
})

const console: Fields = {
  ...guarded,
  ETag: z.string(),
  'Content-Security-Policy': z.string(),
  'X-Frame-Options': z.literal('DENY'),
  'Permissions-Policy': z.string(),
  'Cross-Origin-Opener-Policy': z.literal('same-origin'),
  'Cross-Origin-Resource-Policy': z.literal('same-origin'),
}

const consoleFile = (id: string, summary: string, cacheControl: string, type: string): Operation => {
  const headers = { ...console, 'Cache-Control': z.literal(cacheControl) }
  const coding = z.enum(['br', 'gzip']).optional().describe('By `Accept-Encoding`.')
  return {
    id,
    summary,
    who: 'anybody',
    replies: {
      200: { words: 'The file.', headers: { ...headers, 'Content-Encoding': coding }, content: type },
      304: { words: 'What the client has is still the file.', headers },
    },
    errors: { ...errors, not_found: 'There is no such file, or the console was not built.' },
  }
}

export const documentGroup: Group = {
  name: 'Documents',
  description: 'What the server says of itself, and its page for people.',
  errors: 'native',
  operations: {
    'GET /': consoleFile('console', 'Show the web console', 'no-cache', 'text/html'),
    'GET /console/:file': consoleFile(
      'consoleFile',
      'A script, style or picture of the web console',
      'public, max-age=31536000, immutable',
      '*/*',
    ),
    'GET /openapi.json': {
      id: 'openapi',
      summary: 'Give this document',
      who: 'anybody',
      replies: {
        200: { words: 'OpenAPI 3.1.', headers: cached, content: 'application/json' },
        304: { words: 'What the client has is still the document.', headers: cached },
      },
      errors,
    },
    'GET /docs': {
      id: 'reference',
      summary: 'Show this document to people',
      who: 'anybody',
      replies: {
        200: {
          words: 'A page.',
          headers: { ...guarded, 'Content-Security-Policy': z.string() },
          content: 'text/html',
        },
        308: { words: 'From /docs/.', headers: { Location: z.literal('../docs') } },
      },
      errors,
    },
    'GET /docs/start.js': {
      id: 'referenceStart',
      summary: 'What starts that page',
      who: 'anybody',
      replies: { 200: { words: 'The file.', headers: guarded, content: 'text/javascript' } },
      errors,
    },
    'GET /docs/ui.js': asset('referenceScript', 'The script of that page', 'text/javascript'),
    'GET /docs/ui.css': asset('referenceStyle', 'The looks of that page', 'text/css'),
  },
}

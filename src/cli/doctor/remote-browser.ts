import { textOf } from '../client/answer.ts'
import { failed, ok, warning, type Check } from './finding.ts'
import type { Patient } from './patient.ts'

const NEEDED = ['creation', 'termination', 'expiration']
const ASKED = 'tus-resumable,upload-length,upload-metadata,upload-offset,content-type,x-api-key'
const READ = ['location', 'upload-offset', 'upload-length', 'tus-resumable']

/** What a page in a browser needs. */
export const browserChecks = ({ sendWithoutKey, origin }: Patient): Check[] => [
  [
    'tus OPTIONS',
    async () => {
      const res = await sendWithoutKey({ method: 'OPTIONS', path: '/files' })
      await textOf(res)
      const extensions = String(res.headers['tus-extension'] ?? '').split(',')
      const missing = NEEDED.filter((name) => !extensions.includes(name))
      if (res.headers['tus-version'] === undefined)
        return failed(
          `OPTIONS /files answers ${res.statusCode} without Tus-Version`,
          'Let the proxy pass OPTIONS on, and keep the headers Tus-*.',
        )
      return missing.length > 0
        ? warning(`without ${missing.join(', ')}`, 'Let the proxy keep Tus-Extension as it is.')
        : ok(
            `${extensions.length} extensions, Tus-Max-Size ${String(res.headers['tus-max-size'] ?? 'not told')}`,
          )
    },
  ],
  [
    'CORS',
    async () => {
      const asking = origin ?? 'https://nobody.example'
      const preflight = await sendWithoutKey({
        method: 'OPTIONS',
        path: '/files',
        headers: {
          Origin: asking,
          'Access-Control-Request-Method': 'PATCH',
          'Access-Control-Request-Headers': ASKED,
        },
      })
      await textOf(preflight)
      const { headers } = preflight
      const allowed = headers['access-control-allow-origin']
      if (origin === null)
        return allowed === undefined
          ? ok('pages of unknown origins are not let in; name yours by --origin to check it')
          : ok(`pages of any origin are let in (${allowed})`)
      if (allowed !== origin && allowed !== '*')
        return failed(
          `pages of ${origin} are not let in`,
          `Add ${origin} to CORS_ALLOWED_ORIGINS, and let the proxy pass OPTIONS and Origin on.`,
        )
      const methods = String(headers['access-control-allow-methods']).toUpperCase()
      const names = listOf(headers['access-control-allow-headers'])
      const refused = ASKED.split(',').filter((name) => !names.includes(name) && !names.includes('*'))
      if (!methods.includes('PATCH') || refused.length > 0)
        return failed(
          `a page may not send ${[...(methods.includes('PATCH') ? [] : ['PATCH']), ...refused].join(', ')}`,
          'Let the server answer preflights: a proxy that adds headers of its own overrides it.',
        )
      const plain = await sendWithoutKey({ method: 'OPTIONS', path: '/files', headers: { Origin: origin } })
      await textOf(plain)
      const exposed = listOf(plain.headers['access-control-expose-headers'])
      const hidden = READ.filter((name) => !exposed.includes(name))
      return hidden.length > 0
        ? failed(
            `a page can't read ${hidden.join(', ')}`,
            'Let the proxy keep Access-Control-Expose-Headers as the server sends it.',
          )
        : ok(`pages of ${origin} may upload and read what they need`)
    },
  ],
]

const listOf = (header: string | undefined): string[] =>
  (header ?? '').split(',').map((name) => name.trim().toLowerCase())

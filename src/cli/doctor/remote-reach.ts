import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { textOf } from '../client/answer.ts'
import { failed, ok, skipped, warning, wordsOf, type Check } from './finding.ts'
import type { Patient } from './patient.ts'

const IDLE_MS = 15_000
const MOST_SKEW_SECONDS = 60
const LEAST_CERTIFICATE_DAYS = 14

export function reachChecks(patient: Patient): Check[] {
  const { condition } = patient
  const get = (path: string) => patient.sendWithoutKey({ method: 'GET', path, idleMs: IDLE_MS })
  const first = { date: '', certificateEnd: '' }
  const reached =
    (check: Check[1]): Check[1] =>
    () =>
      condition.reached ? check() : skipped('nobody answers there')

  return [
    [
      'reachable',
      async () => {
        try {
          const res = await get('/health')
          // Once the answer is read, its connection is another's.
          first.certificateEnd = (res.socket as Partial<TLSSocket>).getPeerCertificate?.().valid_to ?? ''
          first.date = res.headers.date ?? ''
          const text = await textOf(res)
          condition.reached = true
          if (res.statusCode === 200 && text.includes('"ok"')) return ok('GET /health answers 200')
          condition.reached = false
          return failed(
            `GET /health answers ${res.statusCode}`,
            'Is this the URL of the server? A proxy must pass every path on as it is, and know where the server is.',
          )
        } catch (error) {
          return failed(wordsOf(error), remedyOf(error))
        }
      },
    ],
    ['TLS', reached(() => judgeTls(patient.url, first.certificateEnd))],
    ['ready', reached(() => judgeReady(get))],
    ['version', reached(() => judgeVersion(get))],
    ['clock', reached(() => judgeClock(first.date))],
    ['key', reached(() => judgeKey(patient))],
  ]
}

const REMEDIES: Readonly<Record<string, string>> = {
  ECONNREFUSED:
    'Nothing listens there: start the server, check HOST and PORT, and that the port is published.',
  ENOTFOUND: 'The name does not resolve: check the URL and the DNS.',
  EAI_AGAIN: 'The name does not resolve just now: check the DNS of this machine.',
  ETIMEDOUT: 'Nothing answers: a firewall may drop the packets.',
  CERT_HAS_EXPIRED: 'Renew the certificate.',
  DEPTH_ZERO_SELF_SIGNED_CERT:
    'The certificate is self-signed: get one that is trusted, or name its authority in NODE_EXTRA_CA_CERTS.',
  SELF_SIGNED_CERT_IN_CHAIN: 'Name the authority of the certificate in NODE_EXTRA_CA_CERTS.',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'The proxy does not send the certificates between: serve the full chain.',
  ERR_TLS_CERT_ALTNAME_INVALID: 'The certificate is for another name: use that name, or get one for this.',
}

function remedyOf(error: unknown): string {
  const code = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? '') : ''
  if (code.startsWith('ERR_SSL') || code === 'EPROTO')
    return 'That port does not speak TLS: is the URL an http one?'
  return REMEDIES[code] ?? 'Check the URL, the proxy in front of the server, and that the server runs.'
}

function judgeTls(url: string, certificateEnd: string) {
  const { protocol, hostname } = new URL(url)
  if (protocol === 'http:')
    return /^(localhost|127\.|\[::1\])/.test(hostname)
      ? ok('none, and none needed on this machine')
      : warning(
          'none: everybody on the way can read the key',
          'Put a proxy with a certificate in front, and use https.',
        )
  const days = Math.floor((Date.parse(certificateEnd) - Date.now()) / 86_400_000)
  if (Number.isNaN(days)) return ok('the certificate is trusted')
  return days < LEAST_CERTIFICATE_DAYS
    ? warning(
        `the certificate expires in ${days} days`,
        'Renew it, and see why it was not renewed by itself.',
      )
    : ok(`trusted, for ${days} more days`)
}

async function judgeReady(get: (path: string) => Promise<IncomingMessage>) {
  const res = await get('/ready')
  const text = await textOf(res)
  return res.statusCode === 200
    ? ok('database and storage answer')
    : failed(
        `GET /ready answers ${res.statusCode}: ${text.trim().slice(0, 120)}`,
        'Run doctor on the machine of the server.',
      )
}

async function judgeVersion(get: (path: string) => Promise<IncomingMessage>) {
  const res = await get('/version')
  const [, version] = /"version":"([^"]+)"/.exec(await textOf(res)) ?? []
  return version === undefined
    ? warning(
        `GET /version answers ${res.statusCode}`,
        'Let the proxy pass it on: clients and people ask for it.',
      )
    : ok(version)
}

/** Tokens and links expire by the clock of the server. */
function judgeClock(date: string) {
  const at = Date.parse(date)
  if (Number.isNaN(at)) return warning('the answers have no Date', 'Let the proxy keep it.')
  const seconds = Math.round((Date.now() - at) / 1000)
  if (Math.abs(seconds) <= MOST_SKEW_SECONDS) return ok('agrees with the one here')
  return warning(
    `${Math.abs(seconds)} seconds ${seconds > 0 ? 'behind' : 'ahead of'} the one here`,
    'Let both machines keep their time by NTP: tokens and links expire by it.',
  )
}

async function judgeKey({ send, sendWithoutKey, hasKey, condition }: Patient) {
  const path = '/v1/uploads?limit=1'
  const open = await sendWithoutKey({ method: 'GET', path, idleMs: IDLE_MS })
  await textOf(open)
  if (open.statusCode === 200)
    return failed(
      'the list of uploads comes without a key',
      'A proxy adds a key of its own, or keeps answers: it must do neither.',
    )
  if (!hasKey) return warning('no key was given', 'Set UPLOAD_API_KEY: most checks need one.')
  const res = await send({ method: 'GET', path, idleMs: IDLE_MS })
  await textOf(res)
  condition.known = res.statusCode === 200
  if (condition.known) return ok('taken, and needed')
  return failed(
    `the list of uploads answers ${res.statusCode}`,
    'Check the key and API_KEY_MAPPINGS; and that the proxy passes X-API-Key and Authorization on.',
  )
}

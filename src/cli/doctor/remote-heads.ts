import { textOf } from '../client/answer.ts'
import { headerOf } from '../client/connection.ts'
import { TUS, tusPath } from '../client/tus.ts'
import { failed, ok, warning, type Check } from './finding.ts'
import { zeros, type Patient } from './patient.ts'

const NAME = 'doctor ✓.txt'

/** What becomes of heads on their way, both ways. */
export const headChecks = (patient: Patient): Check[] => [
  ['Location', () => judgeLocation(patient)],
  ['headers', () => judgeHeaders(patient)],
  ['method override', () => judgeOverride(patient)],
  ['104', () => judgeInformation(patient)],
]

/** Browsers follow it: where it leads to another host or to http, the upload ends there. */
async function judgeLocation({ tus, made, url }: Patient) {
  const { id, location } = await tus.create(1, {})
  made.add(id)
  const here = new URL(url)
  const there = new URL(location, `${url}/files`)
  if (here.protocol === 'https:' && there.protocol === 'http:')
    return failed(
      `${location}: http, behind https`,
      'Set TRUST_PROXY=true and let the proxy send X-Forwarded-Proto and X-Forwarded-Host; or set PUBLIC_BASE_URL.',
    )
  if (there.host !== here.host || there.protocol !== here.protocol)
    return failed(
      `${location} is not at ${here.origin}`,
      'Let the proxy pass Host on, or set PUBLIC_BASE_URL to the URL that clients use.',
    )
  const path = `${here.pathname.replace(/\/$/, '')}${tusPath(id)}`
  return there.pathname === path
    ? ok(location)
    : failed(
        `${there.pathname} instead of ${path}`,
        'The proxy serves it under a path of its own: set PUBLIC_BASE_URL with that path.',
      )
}

async function judgeHeaders({ tus, send, made }: Patient) {
  const { id } = await tus.create(1, { filename: NAME })
  made.add(id)
  const res = await send({ method: 'HEAD', path: tusPath(id), headers: TUS })
  await textOf(res)
  const lost = ['Upload-Offset', 'Upload-Length', 'Tus-Resumable', 'Upload-Metadata'].filter(
    (name) => headerOf(res.headers, name) === null,
  )
  if (lost.length > 0)
    return failed(`${lost.join(', ')} got lost`, 'Let the proxy pass all headers on, in both directions.')
  const metadata = headerOf(res.headers, 'Upload-Metadata') ?? ''
  if (!metadata.includes(Buffer.from(NAME).toString('base64')))
    return failed(
      `Upload-Metadata came back as ${metadata}`,
      'Let the proxy pass Upload-Metadata on as it is.',
    )
  return headerOf(res.headers, 'Cache-Control')?.includes('no-store')
    ? ok('all of them come through')
    : warning('Cache-Control: no-store got lost', 'Else something on the way may keep an old Upload-Offset.')
}

/** For networks that let only GET and POST through. */
async function judgeOverride({ tus, send, made }: Patient) {
  const { id } = await tus.create(4, {})
  made.add(id)
  const res = await send({
    method: 'POST',
    path: tusPath(id),
    headers: {
      ...TUS,
      'X-HTTP-Method-Override': 'PATCH',
      'Upload-Offset': '0',
      'Content-Type': 'application/offset+octet-stream',
    },
    body: zeros(4),
  })
  await textOf(res)
  return res.statusCode === 204
    ? ok('a POST stands for a PATCH')
    : warning(
        `a POST that stands for a PATCH answers ${res.statusCode}`,
        'Let the proxy pass X-HTTP-Method-Override on: clients behind narrow firewalls need it.',
      )
}

/** Of the IETF's draft of resumable uploads. Nothing depends on it. */
async function judgeInformation({ send, native, made }: Patient) {
  const statuses: number[] = []
  const res = await send({
    method: 'POST',
    path: '/files',
    headers: { 'Upload-Draft-Interop-Version': '8', 'Upload-Complete': '?0', 'Upload-Length': '4' },
    onInformation: (status) => statuses.push(status),
  })
  await textOf(res)
  const id = /\/files\/([\w-]+)/.exec(headerOf(res.headers, 'Location') ?? '')?.[1]
  if (id !== undefined) {
    made.add(id)
    await native.remove(id).catch(() => {})
  }
  return ok(
    statuses.includes(104) ? 'interim answers come through' : 'none came; only drafts of the IETF use them',
  )
}

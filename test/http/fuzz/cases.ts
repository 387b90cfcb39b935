import { routes, type App } from '../../../src/app.ts'
import { ALICE, BOB } from '../../support/server.ts'
import { tokenFor } from '../../support/tokens.ts'
import { chanceOf, type Chance } from './chance.ts'
import { AMBIGUOUS_LENGTHS, BAD_CHUNKS, HEADERS, NUMBERS, ODD_LINES, SEGMENTS, SIGNED } from './words.ts'

export interface Case {
  /**
   * whole: one request, well framed: there is an answer, and the connection closes.
   * many: several of them, or an odd one: the connection closes; what was sent behind the request that
   * closed it may cost the answer, by the reset of the connection.
   * ambiguous: nobody can say where the request ends; it is refused, and nothing behind it counts.
   * open: anything, perhaps broken off.
   */
  kind: 'whole' | 'many' | 'ambiguous' | 'open'
  /** sent one after the other */
  pieces: Buffer[]
}

export interface World {
  /** uploads of Alice's and of Bob's that may suffer; new ones from time to time */
  uploads: readonly string[]
  /** what stands behind /v1/links/ of one of Alice's, and her tokens for some that are in `uploads` */
  link: string
  tokens: readonly string[]
  /** one of Alice's that nothing may happen to */
  victim: string
}

const table = routes({ tus: {}, operations: {}, identification: {}, adminUserIds: [] } as unknown as App)
/** Streams of events have no end of their own, which would pass for a hang. */
const ROUTES: { method: string; path: string }[] = table
  .map(([method, path]) => ({ method, path }))
  .filter(({ path }) => !path.endsWith('/events'))
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'get', 'X']
const VERSIONS = ['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0']
const BAD_VERSIONS = ['HTTP/0.9', 'HTTP/2.0', 'HTTP/1.1 x', 'http/1.1', 'HTTP/11', '']
const KEYS = [...Array.from({ length: 12 }, () => ALICE), BOB, BOB, 'wrong', '']
const HOSTS = ['a', 'localhost:80', '[::1]', 'a/b?c', 'u@h', '']
const LENGTHS = [0, 1, 5, 99, 100, 101, 1000, 70_000]

/** The case of a number: the same each time. */
export function caseOf(seed: number, number: number, world: World): Case {
  const chance = chanceOf(seed * 1_000_003 + number)
  const tag = `X-Request-ID: case-${number}`
  if (chance.percent(15)) return { kind: 'ambiguous', pieces: [ambiguous(chance, world, tag)] }

  const count = chance.percent(50) ? 1 : 2 + chance.below(2)
  const odd = chance.percent(15)
  const requests = Array.from({ length: count }, (_, at) =>
    request(chance, world, { odd, alone: count === 1 }, [
      tag,
      ...(at === count - 1 ? ['Connection: close'] : []),
    ]),
  )
  const bytes = Buffer.concat(requests)
  if (chance.percent(25)) return { kind: 'open', pieces: pieces(chance, spoil(chance, bytes)) }
  return { kind: count > 1 || odd ? 'many' : 'whole', pieces: pieces(chance, bytes) }
}

interface Manner {
  odd: boolean
  /** whether it is the only one of its connection */
  alone: boolean
}

/** A request that says where it ends, whatever else it says. */
function request(chance: Chance, world: World, { odd, alone }: Manner, always: string[]): Buffer {
  const { method, path } = chance.oneOf(ROUTES)
  const version = odd && chance.percent(30) ? chance.oneOf(BAD_VERSIONS) : chance.oneOf(VERSIONS)
  const { lines, bytes } = framed(chance, odd, bodyFor(chance, method, path))
  const head = [
    `${chance.percent(10) ? chance.oneOf(METHODS) : method} ${target(chance, world, path)} ${version}`,
    `Host: ${chance.percent(80) ? 'a' : chance.oneOf(HOSTS)}`,
    ...headers(chance, world, method, alone),
    ...always,
    ...(odd ? [chance.oneOf(ODD_LINES)] : []),
    ...lines,
  ]
  return Buffer.concat([Buffer.from([...head, '', ''].join('\r\n'), 'latin1'), bytes])
}

function target(chance: Chance, { uploads, link, tokens }: World, path: string): string {
  const segment = () => (chance.percent(70) ? chance.oneOf(uploads) : chance.oneOf(SEGMENTS))
  const index = () => (chance.percent(70) ? String(chance.below(3)) : chance.oneOf([...SEGMENTS, ...NUMBERS]))
  const filled = path
    .replace('{/:id}', chance.percent(50) ? `/${segment()}` : '')
    .replace(':id', segment)
    .replace(':index', index)
    .replace(':token', () =>
      chance.percent(50) ? link : chance.oneOf([...SIGNED, ...SEGMENTS, ...tokens, `${link}x`]),
    )
  const odd = chance.percent(8) ? chance.oneOf(['//', '/./', '/../', '/%2e/', ';x=1/']) : ''
  const query = chance.percent(15)
    ? chance.oneOf(['?', '?x', '?limit=0', '?limit=5&cursor=x', '?cursor=%00', '??', '?a[b]=c'])
    : ''
  const where = chance.percent(5)
    ? chance.oneOf(['http://evil.example', 'http://', '//evil.example', 'file://'])
    : ''
  const whole = `${where}${filled}${odd}${query}`
  return (chance.percent(2) ? chance.oneOf(['*', '/', 'evil.example:443', '/#x', '?']) : whole).replaceAll(
    ' ',
    '%20',
  )
}

function headers(chance: Chance, { tokens }: World, method: string, alone: boolean): string[] {
  // Node drops what comes in one packet with a request that asks for another protocol.
  const names = Object.keys(HEADERS).filter((name) => alone || name !== 'Upgrade')
  const said = chance.someOf(names, 5).map((name) => `${name}: ${chance.oneOf(HEADERS[name] ?? [''])}`)
  const usual = chance.percent(70)
    ? ['Tus-Resumable: 1.0.0', 'Upload-Length: 5', ...(method === 'PATCH' ? ['Upload-Offset: 0'] : [])]
    : []
  const type = method === 'PATCH' ? 'application/offset+octet-stream' : 'application/json'
  const key = chance.percent(90)
    ? `X-API-Key: ${chance.oneOf(KEYS)}`
    : `Authorization: Bearer ${chance.oneOf([tokenFor('alice'), ...tokens, ...SIGNED])}`
  return [...usual, ...(chance.percent(80) ? [`Content-Type: ${type}`] : []), key, ...said]
}

const JSONS = [
  '{"file_name":"a","file_size":5}',
  '{"file_name":"a","file_size":5,"chunk_size":1,"metadata":{"a":[1,2,{"b":null}]}}',
  '{"file_name":"../../etc/passwd","file_size":0,"content_type":"text/html\\r\\nX: y"}',
  '{"file_name":1,"file_size":"5"}',
  '{"file_name":"a","file_size":1e308}',
  '{"__proto__":{"file_size":5},"file_name":"a"}',
  '{"file_name":"a","file_size":5,"file_checksum_sha256":"x"}',
  '['.repeat(20_000),
  'null',
  '',
]

const WISHES = [
  '{}',
  '{"expires_in":60,"disposition":"inline"}',
  '{"expires_in":null,"disposition":null}',
  '{"expires_in":1e308}',
  '{"expires_in":-1}',
  '{"expires_in":"60","disposition":{"__proto__":1}}',
  '[]',
  'null',
  '',
]

const bodyFor = (chance: Chance, method: string, path: string): Buffer => {
  if (path.endsWith('init') && chance.percent(80)) return Buffer.from(chance.oneOf(JSONS))
  if (/(links|tokens)$/.test(path) && chance.percent(90)) return Buffer.from(chance.oneOf(WISHES))
  if (method === 'PUT' && chance.percent(70)) return Buffer.alloc(100, 'x')
  if (!['PUT', 'PATCH', 'POST'].includes(method) && chance.percent(80)) return Buffer.alloc(0)
  const length = chance.oneOf(LENGTHS)
  return length > 1000 ? Buffer.alloc(length, 'x') : chance.bytes(length)
}

/** The body and how it is announced: by its length, in chunks, or not at all when there is none. */
function framed(chance: Chance, odd: boolean, body: Buffer): { lines: string[]; bytes: Buffer } {
  if (body.length === 0 && chance.percent(50)) return { lines: [], bytes: body }
  if (chance.percent(70)) return { lines: [`Content-Length: ${body.length}`], bytes: body }
  if (odd && chance.percent(30))
    return { lines: ['Transfer-Encoding: chunked'], bytes: Buffer.from(chance.oneOf(BAD_CHUNKS)) }
  const chunks: Buffer[] = []
  for (let at = 0; at < body.length;) {
    const piece = body.subarray(at, at + 1 + chance.below(body.length))
    const extension = chance.percent(20)
      ? chance.oneOf([';a', ';a=b', ';a="b;c"', `;${'x'.repeat(2000)}`])
      : ''
    chunks.push(Buffer.from(`${piece.length.toString(16)}${extension}\r\n`), piece, Buffer.from('\r\n'))
    at += piece.length
  }
  const trailers = chance.percent(30)
    ? 'Upload-Checksum: sha1 x\r\nX-API-Key: other\r\nContent-Length: 9\r\n'
    : ''
  return {
    lines: [
      chance.oneOf([
        'Transfer-Encoding: chunked',
        'Transfer-Encoding:\tChunked',
        'transfer-encoding: chunked ',
      ]),
    ],
    bytes: Buffer.concat([...chunks, Buffer.from(`0\r\n${trailers}\r\n`)]),
  }
}

/** Behind its body, or inside of it, stands a request that would remove the victim. */
function ambiguous(chance: Chance, { uploads, victim }: World, tag: string): Buffer {
  const smuggled = [
    `DELETE /${chance.oneOf(['files', 'v1/uploads'])}/${victim} HTTP/1.1`,
    'Host: a',
    `X-API-Key: ${ALICE}`,
    'Tus-Resumable: 1.0.0',
    '',
    '',
  ].join('\r\n')
  const [method, path] = chance.oneOf([
    ['PATCH', `/files/${uploads[0]}`],
    ['PUT', `/v1/uploads/${uploads[0]}/chunks/0`],
    ['POST', '/v1/uploads/init'],
    ['GET', '/health'],
  ])
  const head = [
    `${method} ${path} HTTP/1.1`,
    'Host: a',
    `X-API-Key: ${ALICE}`,
    'Tus-Resumable: 1.0.0',
    'Upload-Offset: 0',
    'Content-Type: application/offset+octet-stream',
    tag,
    ...chance.oneOf(AMBIGUOUS_LENGTHS),
  ]
  const body = chance.oneOf(['', 'hello', '0\r\n\r\n', '5\r\nhello\r\n0\r\n\r\n'])
  return Buffer.from([...head, '', body + smuggled].join('\r\n'), 'latin1')
}

/** Breaks the bytes off, or changes some of them. */
function spoil(chance: Chance, bytes: Buffer): Buffer {
  if (chance.percent(40)) return bytes.subarray(0, chance.below(bytes.length))
  const spoilt = Buffer.from(bytes)
  const most = Math.min(spoilt.length, 2000)
  for (let change = 0; change <= chance.below(4); change++) {
    const byte = chance.percent(50) ? chance.below(256) : chance.oneOf([0, 9, 10, 13, 32, 44, 58, 255])
    spoilt[chance.below(most)] = byte
  }
  return spoilt
}

function pieces(chance: Chance, bytes: Buffer): Buffer[] {
  if (chance.percent(70)) return [bytes]
  const cut: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const piece = bytes.subarray(at, at + 1 + chance.below(Math.max(50, bytes.length / 3)))
    cut.push(piece)
    at += piece.length
  }
  return cut
}

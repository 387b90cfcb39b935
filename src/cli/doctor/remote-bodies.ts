import { setTimeout as sleep } from 'node:timers/promises'
import { textOf } from '../client/answer.ts'
import { TUS, tusPath } from '../client/tus.ts'
import { bytesWords } from '../terminal/words.ts'
import { failed, ok, skipped, warning, wordsOf, type Check } from './finding.ts'
import { zeros, type Patient } from './patient.ts'

const CHUNK_BYTES = 64 * 1024
const SENT_BYTES = 1024 * 1024
const WHOLE_BYTES = 2 * SENT_BYTES
const LOOK_MS = 250
const LOOKS = 24
const ANNOUNCED_BYTES = 1024 ** 3
const DEEP_BYTES = 110 * 1024 * 1024
const ANSWER_MS = 5_000

const PATCH = { ...TUS, 'Content-Type': 'application/offset+octet-stream' }
const CAP_REMEDY =
  'Lift the limit of the proxy (nginx: client_max_body_size 0), or MAX_UPLOAD_BYTES; or have clients send smaller pieces (--chunk-size).'

/** What becomes of bodies on their way up. */
export const bodyChecks = (patient: Patient): Check[] => [
  ['request buffering', () => judgeBuffering(patient)],
  ['body size', () => judgeAnnounced(patient)],
  ['body of 110 MiB', () => (patient.deep ? judgeDeep(patient) : skipped('only with --deep'))],
]

/**
 * Half of a body is sent and then nothing. Does a second connection see its bytes count? Chunks are small, since
 * bytes count when they fill one, or at the end.
 */
async function judgeBuffering({ native, tus, send, made }: Patient) {
  const init = { file_name: 'doctor', file_size: WHOLE_BYTES, chunk_size: CHUNK_BYTES }
  const { upload_id: id } = await native.init(init, crypto.randomUUID())
  made.add(id)
  const end = new AbortController()
  const body = {
    length: WHOLE_BYTES,
    open: async function* () {
      yield Buffer.alloc(SENT_BYTES)
      await sleep(LOOKS * LOOK_MS * 2, undefined, { signal: end.signal }).catch(() => {})
    },
  }
  const patch = send({
    method: 'PATCH',
    path: tusPath(id),
    headers: { ...PATCH, 'Upload-Offset': '0' },
    body,
    signal: end.signal,
  })
  const broken = patch.then(
    async (res) => `${res.statusCode}: ${await textOf(res)}`,
    (error: unknown) => wordsOf(error),
  )
  try {
    for (let look = 0; look < LOOKS; look += 1) {
      const early = await Promise.race([broken, sleep(LOOK_MS)])
      if (early !== undefined) return brokenOff(early)
      const { offset } = await tus.head(id)
      if (offset > 0) return ok('bytes reach the server while the rest is on its way')
    }
    return failed(
      'nothing of a body reaches the server before its end',
      'Turn it off (nginx: proxy_request_buffering off; proxy_http_version 1.1): else a broken connection loses all that was sent, and the proxy needs room for whole files.',
    )
  } finally {
    end.abort()
    await broken
  }
}

const brokenOff = (early: string) =>
  early.startsWith('413')
    ? failed(
        'the proxy refuses a body of a few MiB for its size (413)',
        'Take its limit off (nginx: client_max_body_size 0), then ask again: whether it buffers is not known yet.',
      )
    : failed(`a slow body was broken off: ${early}`, 'Raise the timeouts of the proxy for bodies.')

/** A large body is announced, at an offset that is wrong: the server refuses the offset, a proxy the size. */
async function judgeAnnounced({ tus, send, made }: Patient) {
  const { id } = await tus.create(2, {})
  made.add(id)
  const end = new AbortController()
  const timer = setTimeout(() => end.abort(), ANSWER_MS)
  try {
    const res = await send({
      method: 'PATCH',
      path: tusPath(id),
      headers: { ...PATCH, 'Upload-Offset': '1' },
      signal: end.signal,
      body: {
        length: ANNOUNCED_BYTES,
        open: async function* () {
          await sleep(2 * ANSWER_MS, undefined, { signal: end.signal }).catch(() => {})
          yield Buffer.alloc(0)
        },
      },
    })
    await textOf(res)
    if (res.statusCode === 413)
      return failed(`a body of ${bytesWords(ANNOUNCED_BYTES)} is refused`, CAP_REMEDY)
    return res.statusCode === 409
      ? ok(`${bytesWords(ANNOUNCED_BYTES)} in one body may come`)
      : warning(`a body of ${bytesWords(ANNOUNCED_BYTES)} answers ${res.statusCode}`, CAP_REMEDY)
  } catch (error) {
    if (!end.signal.aborted) throw error
    return warning(
      'no answer before the body: the proxy waits for all of it',
      'See request buffering above; --deep sends a large one.',
    )
  } finally {
    clearTimeout(timer)
    end.abort()
  }
}

async function judgeDeep({ tus, made }: Patient) {
  try {
    const { id } = await tus.create(DEEP_BYTES, { filename: 'doctor' })
    made.add(id)
    const offset = await tus.patch(id, 0, zeros(DEEP_BYTES))
    return offset === DEEP_BYTES ? ok('arrived') : failed(`only ${bytesWords(offset)} arrived`, CAP_REMEDY)
  } catch (error) {
    return failed(wordsOf(error), CAP_REMEDY)
  }
}

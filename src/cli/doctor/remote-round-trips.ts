import { createHash, randomBytes, randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { failureOf, textOf } from '../client/answer.ts'
import { failed, ok, warning, type Check } from './finding.ts'
import type { Patient } from './patient.ts'

const SIZE = 300_000
const CHUNK = 128 * 1024
const RANGE = { start: 131_000, end: 131_999 }

/** A file up, down and away again, by each dialect. */
export function roundTripChecks(patient: Patient): Check[] {
  const bytes = randomBytes(SIZE)
  const bodyOf = (start: number, end: number) => ({
    length: end - start,
    open: async function* () {
      yield bytes.subarray(start, end)
    },
  })
  const { native, tus, made } = patient
  return [
    [
      'chunks',
      async () => {
        const file_checksum_sha256 = createHash('sha256').update(bytes).digest('hex')
        const init = { file_name: 'doctor', file_size: SIZE, chunk_size: CHUNK, file_checksum_sha256 }
        const { upload_id: id } = await native.init(init, randomUUID())
        made.add(id)
        for (const index of await native.missing(id))
          await native.putChunk(id, index, bodyOf(index * CHUNK, Math.min(SIZE, (index + 1) * CHUNK)))
        await native.complete(id)
        return judgeDownload(patient, id, `/v1/uploads/${id}/download`, bytes)
      },
    ],
    [
      'tus',
      async () => {
        const { id } = await tus.create(SIZE, { filename: 'doctor' })
        made.add(id)
        const half = await tus.patch(id, 0, bodyOf(0, SIZE / 2))
        const { offset } = await tus.head(id)
        if (offset !== half)
          return failed(
            `HEAD says ${offset} behind ${half} bytes`,
            'Let nothing on the way keep answers to HEAD.',
          )
        await tus.patch(id, offset, bodyOf(offset, SIZE))
        return judgeDownload(patient, id, `/files/${id}`, bytes)
      },
    ],
  ]
}

async function judgeDownload({ send, native, made }: Patient, id: string, path: string, sent: Buffer) {
  const whole = await bytesOf(await send({ method: 'GET', path }))
  if (!whole.equals(sent))
    return failed(
      'other bytes came back',
      'Let nothing on the way change, compress or rewrite what comes through.',
    )
  const part = await send({ method: 'GET', path, headers: { Range: `bytes=${RANGE.start}-${RANGE.end}` } })
  const ranges = part.statusCode === 206
  const partial = await bytesOf(part)
  await native.remove(id)
  made.delete(id)
  const gone = await send({ method: 'GET', path })
  await textOf(gone)
  if (gone.statusCode !== 404)
    return failed(
      `GET answers ${gone.statusCode} after DELETE`,
      'Let nothing on the way keep answers, and pass DELETE on.',
    )
  if (!ranges)
    return warning(
      'up, down and away; but ranges are not served',
      'Let the proxy pass Range on (nginx: proxy_force_ranges, no slice or cache in between): downloads resume by it.',
    )
  return partial.equals(sent.subarray(RANGE.start, RANGE.end + 1))
    ? ok('up, down, the same bytes, ranges too, and away')
    : failed('a range has other bytes', 'Let nothing on the way compress what comes through.')
}

async function bytesOf(res: IncomingMessage): Promise<Buffer> {
  if (res.statusCode !== 200 && res.statusCode !== 206) throw failureOf(res, await textOf(res))
  const pieces: Buffer[] = []
  for await (const piece of res as AsyncIterable<Buffer>) pieces.push(piece)
  return Buffer.concat(pieces)
}

import path from 'node:path'
import type { Connection } from '../client/connection.ts'
import type { Shown } from '../client/native.ts'
import { persist, type Persistence } from '../client/persist.ts'
import { Failure } from '../failure.ts'
import type { Bar } from '../terminal/progress.ts'
import { eachOf } from '../upload/slots.ts'
import { sha256Of } from '../upload/source.ts'
import { openPartial, type Partial } from './partial.ts'
import { getRange } from './ranges.ts'

/** what one request brings: so much is fetched again at most when one breaks */
export const SEGMENT_BYTES = 16 * 1024 * 1024

interface Download {
  send: Connection['send']
  upload: Shown
  size: number
  file: string
  parallel: number
  persistence: Persistence
  bar: Bar
}

export interface Downloaded {
  /** null where the server has none to compare with */
  sha256: string | null
  /** bytes that a run before has got */
  resumedAt: number
}

export const pathOf = (id: string): string => `/v1/uploads/${encodeURIComponent(id)}/download`

/** What the server calls it, without anything that leads out of the folder, hides, or is read by a shell at its start. */
export const safeName = (upload: Shown): string => {
  const name = path.posix.basename(upload.file_name.replaceAll('\\', '/')).replace(/\p{Cc}/gu, '_')
  return /^\.*$/.test(name) ? 'download' : name.replace(/^\./, '_')
}

/** Fetches a file in segments, those that are missing, and gives it its name once it is whole and checked. */
export async function downloadFile(download: Download): Promise<Downloaded> {
  const { upload, size, file, persistence } = download
  const versionOf = (etag: string | null) => `${upload.upload_id} ${size} ${etag}`
  const etag = await persist(persistence, () => etagOf(download))
  const partial = await openPartial(file, versionOf(etag))
  try {
    const resumedAt = [...partial.done].reduce((sum, segment) => sum + lengthOf(segment, size), 0)
    await fetchMissing(download, partial, etag, resumedAt)
    const found = (await partial.handle.stat()).size
    if (found !== size) throw new Failure(`${found} bytes came instead of ${size}.`)
    const sha256 = await verify(download, partial, versionOf(etag))
    await partial.keep()
    return { sha256, resumedAt }
  } finally {
    await partial.close()
  }
}

const lengthOf = (segment: number, size: number): number =>
  Math.min(SEGMENT_BYTES, size - segment * SEGMENT_BYTES)

/** What the file is called in its present version. */
async function etagOf({ send, upload }: Download): Promise<string | null> {
  const res = await send({ method: 'HEAD', path: pathOf(upload.upload_id) })
  res.resume()
  const { etag } = res.headers
  return res.statusCode === 200 && etag !== undefined && !etag.startsWith('W/') ? etag : null
}

async function fetchMissing(
  { send, upload, size, parallel, persistence, bar }: Download,
  partial: Partial,
  etag: string | null,
  resumedAt: number,
): Promise<void> {
  const count = Math.ceil(size / SEGMENT_BYTES)
  const missing = Array.from({ length: count }, (_, at) => at).filter((at) => !partial.done.has(at))
  let arrived = resumedAt
  bar.set(arrived)
  await eachOf(missing, parallel, async (segment) => {
    const end = segment * SEGMENT_BYTES + lengthOf(segment, size)
    let position = segment * SEGMENT_BYTES
    await persist(
      persistence,
      async () => {
        const answer = await getRange(send, pathOf(upload.upload_id), { start: position, end, etag })
        if (answer.start !== position || (answer.size !== null && answer.size !== size)) {
          await partial.restart('')
          throw new Failure('The file changed while it was being downloaded; download it again.')
        }
        for await (const bytes of answer.bytes) {
          const wanted = bytes.subarray(0, end - position)
          await writeAll(partial, wanted, position)
          position += wanted.length
          arrived += wanted.length
          bar.set(arrived)
          // A server that knows no ranges goes on to the end.
          if (position === end) break
        }
        if (position < end) throw new Error('the connection ended before its range')
      },
      () => position,
    )
    await partial.finish(segment)
  })
}

async function writeAll({ handle }: Partial, bytes: Buffer, position: number): Promise<void> {
  let done = 0
  while (done < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}

/** @throws {Failure} when the bytes are not those that the server's digest is of; nothing of them is kept */
async function verify(
  { upload, persistence }: Download,
  partial: Partial,
  version: string,
): Promise<string | null> {
  const told = upload.file_checksum_sha256
  if (told === null) return null
  const stream = partial.handle.createReadStream({ start: 0, autoClose: false, highWaterMark: 1024 * 1024 })
  const found = (await sha256Of(stream, persistence.signal)).toString('hex')
  if (found === told) return found
  await partial.restart(version)
  throw new Failure(`The SHA-256 of what came is ${found}, and the server says ${told}.`)
}

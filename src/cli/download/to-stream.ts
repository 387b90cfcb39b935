import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Writable } from 'node:stream'
import type { Send } from '../client/connection.ts'
import type { Shown } from '../client/native.ts'
import { persist, type Persistence } from '../client/persist.ts'
import { Failure } from '../failure.ts'
import type { Bar } from '../terminal/progress.ts'
import { pathOf } from './download-file.ts'
import { getRange } from './ranges.ts'

interface Piping {
  send: Send
  upload: Shown
  size: number
  output: Writable
  persistence: Persistence
  bar: Bar
}

/** Fetches a file into a pipe, going on from where it broke. @returns its SHA-256 */
export async function downloadInto({
  send,
  upload,
  size,
  output,
  persistence,
  bar,
}: Piping): Promise<string> {
  const hash = createHash('sha256')
  let position = 0
  let etag: string | null = null
  await persist(
    persistence,
    async () => {
      if (size === 0) return
      const answer = await getRange(send, pathOf(upload.upload_id), { start: position, end: size, etag })
      if (answer.start !== position)
        throw new Failure('The file changed while it was being downloaded; download it again.')
      etag = answer.etag !== null && !answer.etag.startsWith('W/') ? answer.etag : null
      for await (const bytes of answer.bytes) {
        hash.update(bytes)
        position += bytes.length
        if (!output.write(bytes)) await once(output, 'drain', { signal: persistence.signal })
        bar.set(position)
      }
      if (position < size) throw new Error('the connection ended before the file')
    },
    () => position,
  )
  const found = hash.digest('hex')
  if (upload.file_checksum_sha256 !== null && upload.file_checksum_sha256 !== found)
    throw new Failure(
      `The SHA-256 of what came is ${found}, and the server says ${upload.file_checksum_sha256}.`,
    )
  return found
}

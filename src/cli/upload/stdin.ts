import { createHash } from 'node:crypto'
import { persist, type Persistence } from '../client/persist.ts'
import type { TusApi } from '../client/tus.ts'
import { Failure } from '../failure.ts'
import type { Bar } from '../terminal/progress.ts'

/** kept in memory until the server has it, so that it can be sent again */
export const STDIN_PIECE_BYTES = 8 * 1024 * 1024

interface Piping {
  tus: TusApi
  input: AsyncIterable<Uint8Array>
  metadata: Readonly<Record<string, string>>
  pieceBytes: number
  persistence: Persistence
  bar: Bar
}

/** Uploads what comes, of whatever length: tus lets the length be told with the last bytes. */
export async function uploadInput({
  tus,
  input,
  metadata,
  pieceBytes,
  persistence,
  bar,
}: Piping): Promise<{ id: string; size: number; sha256: string }> {
  const { id } = await persist(persistence, () => tus.create(null, metadata))
  const hash = createHash('sha256')
  let position = 0
  for await (const { bytes, last } of piecesOf(input, pieceBytes)) {
    persistence.signal.throwIfAborted()
    hash.update(bytes)
    const end = position + bytes.length
    await sendPiece({ tus, id, bytes, start: position, length: last ? end : null, persistence, bar })
    position = end
  }
  return { id, size: position, sha256: hash.digest('hex') }
}

interface Piece {
  tus: TusApi
  id: string
  bytes: Uint8Array
  start: number
  /** of the whole, with its last piece */
  length: number | null
  persistence: Persistence
  bar: Bar
}

async function sendPiece({ tus, id, bytes, start, length, persistence, bar }: Piece): Promise<void> {
  let failed = false
  let reached = start
  await persist(
    persistence,
    async () => {
      const { offset, length: told } = failed ? await tus.head(id) : { offset: start, length: null }
      if (offset < start || offset > start + bytes.length)
        throw new Failure(`The server is at ${offset}, which is neither kept here nor sent yet.`)
      reached = offset
      const rest = bytes.subarray(offset - start)
      failed = true
      const body = {
        length: rest.length,
        open: async function* () {
          yield rest
        },
      }
      // Also where only the length is to be told.
      if (rest.length > 0 || (length !== null && told === null))
        await tus.patch(id, offset, body, length === null || told !== null ? {} : { length })
      bar.set(start + bytes.length)
    },
    () => reached,
  )
}

/** Pieces of one size, but for the last, which may be empty. */
async function* piecesOf(
  input: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<{ bytes: Buffer; last: boolean }> {
  let kept: Uint8Array[] = []
  let length = 0
  for await (const bytes of input) {
    kept.push(bytes)
    length += bytes.length
    while (length > size) {
      const all = Buffer.concat(kept, length)
      yield { bytes: all.subarray(0, size), last: false }
      kept = [all.subarray(size)]
      length -= size
    }
  }
  yield { bytes: Buffer.concat(kept, length), last: true }
}

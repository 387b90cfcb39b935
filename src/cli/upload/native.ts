import { randomUUID } from 'node:crypto'
import type { Shown } from '../client/native.ts'
import { persist } from '../client/persist.ts'
import { Failure } from '../failure.ts'
import { eachOf } from './slots.ts'
import { read } from './source.ts'
import { assertOneVersion, assertSameSize, begin, type Sending } from './sending.ts'

/** By chunks: those that the server has not got yet, several at once. */
export async function uploadChunks(sending: Sending): Promise<{ id: string; resumedAt: number }> {
  const { native, persistence, source, wanted, slots, bar } = sending
  const known = sending.unfinished ? await showUnfinished(sending, sending.unfinished.id) : null
  if (known?.status === 'COMPLETED') {
    bar.set(source.size)
    return { id: known.upload_id, resumedAt: source.size }
  }
  const { id, chunkSize } = known ? { id: known.upload_id, chunkSize: known.chunk_size } : await init(sending)
  const sizeOf = (index: number) => Math.min(chunkSize, source.size - index * chunkSize)

  const missing = await persist(persistence, () => native.missing(id))
  // On the server: what of them has arrived. On the way: what was handed to connections besides.
  const resumedAt = source.size - missing.reduce((sum, index) => sum + sizeOf(index), 0)
  let arrived = resumedAt
  let onTheWay = 0
  const show = () => bar.set(arrived + onTheWay)
  show()

  await eachOf(missing, wanted.parallel, (index) =>
    slots.run(() =>
      persist(
        persistence,
        async () => {
          let sent = 0
          const start = index * chunkSize
          try {
            await native.putChunk(id, index, {
              length: sizeOf(index),
              open: () => read(source, start, start + sizeOf(index)),
              onBytes(count) {
                sent += count
                onTheWay += count
                show()
              },
            })
            arrived += sizeOf(index)
          } finally {
            onTheWay -= sent
            show()
          }
        },
        () => arrived,
      ),
    ),
  )
  await assertOneVersion(sending, id)
  await persist(persistence, () => native.complete(id))
  return { id, resumedAt }
}

async function init(sending: Sending): Promise<{ id: string; chunkSize: number }> {
  const { native, source, wanted, sha256 } = sending
  const once = randomUUID()
  let chunkSize = 0
  const id = await begin(sending, async () => {
    const made = await native.init(
      {
        file_name: wanted.name ?? source.name,
        file_size: source.size,
        ...(wanted.chunkBytes !== null && { chunk_size: wanted.chunkBytes }),
        ...(sha256 !== null && { file_checksum_sha256: sha256 }),
        ...(wanted.contentType !== null && { content_type: wanted.contentType }),
      },
      once,
    )
    chunkSize = made.chunk_size
    return { id: made.upload_id }
  })
  return { id, chunkSize }
}

async function showUnfinished({ native, persistence, source }: Sending, id: string): Promise<Shown> {
  const shown = await persist(persistence, () => native.show(id))
  assertSameSize(source, shown.file_size)
  // As good as gone.
  if (shown.status === 'FAILED' || shown.status === 'ABORTED')
    throw new Failure(`The upload is ${shown.status}`, { status: 410 })
  return shown
}

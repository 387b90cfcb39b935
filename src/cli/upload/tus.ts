import { persist } from '../client/persist.ts'
import { Failure } from '../failure.ts'
import { read, sha256Of } from './source.ts'
import { assertOneVersion, begin, type Sending } from './sending.ts'

/** a body that is to be hashed is read twice: so much of it, and then again */
const CHECKED_BYTES = 64 * 1024 * 1024

/** By tus: one stream from where the server is, or pieces of it where bodies must not be long. */
export async function uploadStream(sending: Sending): Promise<{ id: string; resumedAt: number }> {
  const { tus, persistence, source, slots, bar } = sending
  const id =
    sending.unfinished?.id ?? (await begin(sending, () => tus.create(source.size, metadataOf(sending))))
  // Null where the server has to be asked.
  let offset = sending.unfinished ? null : 0
  let arrived = 0
  let resumedAt: number | null = null

  await slots.run(() =>
    persist(
      persistence,
      async () => {
        let position = offset ?? (await tus.head(id)).offset
        offset = null
        resumedAt ??= position
        if (position > source.size)
          throw new Failure('The unfinished upload is longer than the file; upload without --resume')
        arrived = Math.max(arrived, position)
        bar.set(position)
        while (position < source.size) {
          position = await patch(sending, id, position)
          arrived = Math.max(arrived, position)
          bar.set(position)
        }
      },
      () => arrived,
    ),
  )
  await assertOneVersion(sending, id)
  return { id, resumedAt: resumedAt ?? 0 }
}

async function patch(
  { tus, source, wanted, bar, persistence }: Sending,
  id: string,
  offset: number,
): Promise<number> {
  const most = wanted.checksum ? (wanted.chunkBytes ?? CHECKED_BYTES) : (wanted.chunkBytes ?? source.size)
  const end = Math.min(source.size, offset + most)
  const checksum = wanted.checksum
    ? `sha256 ${(await sha256Of(read(source, offset, end), persistence.signal)).toString('base64')}`
    : undefined
  let sent = 0
  const body = {
    length: end - offset,
    open: () => read(source, offset, end),
    onBytes(count: number) {
      sent += count
      bar.set(offset + sent)
    },
  }
  try {
    return await tus.patch(id, offset, body, checksum === undefined ? {} : { checksum })
  } catch (error) {
    // Somebody else's bytes, or ones of ours whose answer was lost; or bytes that were spoilt on the way. Both
    // are put right from where the server is.
    if (error instanceof Failure && (error.status === 409 || error.status === 460))
      throw new Failure(error.message, { status: error.status, retry: true, cause: error })
    throw error
  }
}

const metadataOf = ({ source, wanted }: Sending): Record<string, string> => ({
  filename: wanted.name ?? source.name,
  ...(wanted.contentType !== null && { filetype: wanted.contentType }),
})

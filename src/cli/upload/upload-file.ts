import { isGone } from '../failure.ts'
import type { Bar } from '../terminal/progress.ts'
import { uploadChunks } from './native.ts'
import type { Sending, UploadDeps, Uploaded, Wanted } from './sending.ts'
import { read, sha256Of, type Source } from './source.ts'
import type { Unfinished } from './state.ts'
import { uploadStream } from './tus.ts'

/** Uploads a file, or goes on with it, and forgets where it was once it is there. */
export async function uploadFile(
  deps: UploadDeps,
  source: Source,
  wanted: Wanted,
  bar: Bar,
): Promise<Uploaded> {
  const { states, persistence } = deps
  const sha256 = wanted.checksum
    ? (await sha256Of(read(source, 0, source.size), persistence.signal)).toString('hex')
    : null
  const send = async (unfinished: Unfinished | null): Promise<Uploaded> => {
    const dialect = unfinished?.dialect ?? wanted.dialect
    const sending: Sending = {
      ...deps,
      source,
      wanted,
      sha256,
      bar,
      unfinished,
      persistence: {
        ...persistence,
        onWait: (error, waitMs) =>
          bar.note(`${error.message}; trying again in ${(waitMs / 1000).toFixed(1)} s`),
      },
      begun: (id) => states.save(source, { dialect, id }),
    }
    const sent = await (dialect === 'native' ? uploadChunks(sending) : uploadStream(sending))
    await states.forget(source)
    return { ...sent, dialect, sha256 }
  }

  const unfinished = wanted.resume ? await lookUp(deps, source, bar) : null
  try {
    return await send(unfinished)
  } catch (error) {
    if (unfinished === null || !isGone(error)) throw error
    bar.note('The server has the unfinished upload no more; starting again.')
    return send(null)
  }
}

async function lookUp({ states }: UploadDeps, source: Source, bar: Bar): Promise<Unfinished | null> {
  const found = await states.find(source)
  if (found === 'changed') bar.note('The file has changed since its upload began; starting again.')
  else if (found === null) bar.note('There is no unfinished upload of it; starting from the beginning.')
  return found === 'changed' ? null : found
}

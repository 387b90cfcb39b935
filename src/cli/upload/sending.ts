import type { NativeApi } from '../client/native.ts'
import { persist, type Persistence } from '../client/persist.ts'
import type { TusApi } from '../client/tus.ts'
import { Failure } from '../failure.ts'
import type { Bar } from '../terminal/progress.ts'
import type { Slots } from './slots.ts'
import { assertUnchanged, type Source } from './source.ts'
import type { Dialect, States, Unfinished } from './state.ts'

export interface UploadDeps {
  native: NativeApi
  tus: TusApi
  states: States
  slots: Slots
  persistence: Omit<Persistence, 'onWait'>
}

export interface Wanted {
  dialect: Dialect
  parallel: number
  resume: boolean
  checksum: boolean
  /** of a chunk, or of a PATCH; null leaves it to the server, and makes one PATCH of the whole */
  chunkBytes: number | null
  contentType: string | null
  name: string | null
}

export interface Uploaded {
  id: string
  dialect: Dialect
  sha256: string | null
  /** bytes that the server had from a run before */
  resumedAt: number
}

/** What both dialects need for one file. */
export interface Sending extends UploadDeps {
  source: Source
  wanted: Wanted
  sha256: string | null
  bar: Bar
  persistence: Persistence
  /** where to go on; null for a new upload */
  unfinished: Unfinished | null
  /** to be told of a new upload before its first byte */
  begun(id: string): Promise<void>
}

/**
 * What was sent of a file that changed is of two versions: it goes.
 * @throws {Failure} that says so
 */
export async function assertOneVersion({ source, states, native }: Sending, id: string): Promise<void> {
  try {
    await assertUnchanged(source)
  } catch (error) {
    await states.forget(source)
    await native.remove(id).catch(() => {})
    throw error
  }
}

/** Makes the upload, and notes it before a byte is sent. @returns its id */
export async function begin(
  { persistence, begun }: Sending,
  create: () => Promise<{ id: string }>,
): Promise<string> {
  const { id } = await persist(persistence, create)
  await begun(id)
  return id
}

/** @throws {Failure} when what the server has under an id is not this file */
export function assertSameSize(source: Source, size: number | null): void {
  if (size !== null && size !== source.size)
    throw new Failure('The unfinished upload is of a file of another size; upload without --resume')
}

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import { EXIT, Failure } from '../failure.ts'

/** A file as it is when its upload begins. */
export interface Source {
  /** absolute, without links */
  path: string
  name: string
  size: number
  mtimeMs: number
}

const READ_BYTES = 256 * 1024

/** @throws {Failure} when it is not there, or no file */
export async function sourceOf(file: string): Promise<Source> {
  try {
    const whole = await realpath(file)
    const found = await stat(whole)
    const { size, mtimeMs } = found
    if (!found.isFile()) throw new Failure('It is no file', { exitCode: EXIT.usage })
    return { path: whole, name: path.basename(file), size, mtimeMs }
  } catch (cause) {
    if (cause instanceof Failure) throw cause
    throw new Failure(`It can't be read: ${(cause as Error).message}`, { cause })
  }
}

/** @param end not included */
export const read = (source: Source, start: number, end: number): AsyncIterable<Buffer> =>
  start === end
    ? (async function* () {})()
    : createReadStream(source.path, { start, end: end - 1, highWaterMark: READ_BYTES })

/** @throws {Failure} when somebody wrote to the file since: what was sent may be of two versions */
export async function assertUnchanged(source: Source): Promise<void> {
  const { size, mtimeMs } = await stat(source.path)
  if (size !== source.size || mtimeMs !== source.mtimeMs)
    throw new Failure(`${source.name} was changed while it was being uploaded; upload it again`)
}

export async function sha256Of(bytes: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Buffer> {
  const hash = createHash('sha256')
  for await (const piece of bytes) {
    signal.throwIfAborted()
    hash.update(piece)
  }
  return hash.digest()
}

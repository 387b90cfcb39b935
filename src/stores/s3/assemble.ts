import type { Upload } from '../../core/upload.ts'
import { atATime } from './at-a-time.ts'
import type { Bucket, Part, Payload } from './bucket.ts'
import { isCode, isMissing, isNotImplemented, lost } from './errors.ts'
import { createCellMemory } from './cell-memory.ts'
import { payloadOf } from './gather.ts'
import { planPack, type PackedPart, type PackSource } from './pack.ts'
import type { PartBuffers } from './part-buffers.ts'
import type { Source } from './reads.ts'
import type { Keys } from './refs.ts'
import { abortIfThere, type UploadIds } from './upload-ids.ts'

export interface Assembling {
  bucket: Pick<
    Bucket,
    'putFile' | 'createUpload' | 'uploadPart' | 'copyPart' | 'completeUpload' | 'abortUpload' | 'head'
  >
  read: (source: Source) => AsyncIterable<Uint8Array>
  keys: Keys
  uploadIds: UploadIds
  buffers: PartBuffers
  minPartBytes: number
  partBytesFor(fileBytes: number): number
}

/** Parts of a file, and pieces of a part, that are under way at a time. */
const PARTS = 4
const PIECES = 8

export interface Assembler {
  /**
   * Makes the object of a file out of others, which stay. May be broken off and done again, also
   * when the sources are gone by then.
   * @throws {HttpError} storage_lost 409 when they are and the object is not there
   */
  assemble(upload: Upload, sources: readonly PackSource[]): Promise<void>
  /** Makes a part out of a whole object. @returns its ETag */
  copyWhole(key: string, uploadId: string, number: number, source: PackSource): Promise<string>
}

export function createAssembler(assembling: Assembling): Assembler {
  const { bucket, read, keys, uploadIds, buffers, minPartBytes, partBytesFor } = assembling
  let copies = true

  async function assemble(upload: Upload, sources: readonly PackSource[]): Promise<void> {
    const key = keys.object(upload.id)
    const total = sources.reduce((sum, { bytes }) => sum + bytes, 0)
    const parts = planPack(sources, partBytesFor(total))
    try {
      const [only] = parts
      if (parts.length === 1 && only) await putOnly(key, only)
      else await putParts(key, await uploadIds.of(upload), parts)
    } catch (error) {
      const gone = isMissing(error) || isCode(error, 'NoSuchUpload')
      if (!gone) throw error
      // An earlier run may have come to the end, and its answer or its commit was lost.
      if (await isThere(key, total)) return
      if (isMissing(error)) throw lost('what was stored of it is gone', error)
      await putPartsAnew(key, parts)
    }
  }

  const isThere = async (key: string, bytes: number): Promise<boolean> => {
    try {
      return (await bucket.head(key)).bytes === bytes
    } catch (error) {
      if (isMissing(error)) return false
      throw error
    }
  }

  const putOnly = (key: string, part: PackedPart) =>
    gathered(part, (payload) => bucket.putFile(key, payload, null))

  async function putParts(key: string, uploadId: string, parts: readonly PackedPart[]): Promise<void> {
    const put = async (part: PackedPart): Promise<Part> => ({
      number: part.number,
      etag: await putPart(key, uploadId, part),
    })
    await bucket.completeUpload(key, uploadId, await atATime(PARTS, parts, put))
  }

  /** Where the multipart upload was aborted behind our back, nothing is lost: the sources are there. */
  async function putPartsAnew(key: string, parts: readonly PackedPart[]): Promise<void> {
    const uploadId = await bucket.createUpload(key)
    try {
      await putParts(key, uploadId, parts)
    } catch (error) {
      await abortIfThere(bucket, key, uploadId)
      throw error
    }
  }

  function putPart(key: string, uploadId: string, part: PackedPart): Promise<string> {
    const [only] = part.pieces
    // S3 copies a range only out of an object that is larger than a part must be.
    if (part.pieces.length === 1 && only && only.source.bytes > minPartBytes)
      return copy(key, uploadId, part, () =>
        bucket.copyPart(key, uploadId, part.number, only.source.key, only.range),
      )
    return upload(key, uploadId, part)
  }

  async function copyWhole(
    key: string,
    uploadId: string,
    number: number,
    source: PackSource,
  ): Promise<string> {
    const piece = { source, range: { start: 0, end: source.bytes }, at: 0 }
    const part = { number, bytes: source.bytes, pieces: [piece] }
    return copy(key, uploadId, part, () => bucket.copyPart(key, uploadId, number, source.key, null))
  }

  /** Within S3, unless the engine can't. */
  async function copy(key: string, uploadId: string, part: PackedPart, copyPart: () => Promise<string>) {
    if (copies)
      try {
        return await copyPart()
      } catch (error) {
        if (!isNotImplemented(error)) throw error
        copies = false
      }
    return upload(key, uploadId, part)
  }

  const upload = (key: string, uploadId: string, part: PackedPart) =>
    gathered(part, (payload) => bucket.uploadPart(key, uploadId, part.number, payload))

  async function gathered(
    { bytes, pieces }: PackedPart,
    send: (payload: Payload) => Promise<string>,
  ): Promise<string> {
    const share = buffers.open(bytes)
    const memory = createCellMemory(share)
    try {
      await atATime(PIECES, pieces, async ({ source, range, at }) => {
        let end = at
        for await (const piece of read({ key: source.key, range })) {
          await memory.write(end, piece)
          end += piece.length
        }
      })
      return await send(await payloadOf(memory.read(0, bytes)))
    } finally {
      share.release()
    }
  }

  return { assemble, copyWhole }
}

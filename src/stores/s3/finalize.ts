import { createHash } from 'node:crypto'
import { cellRange } from '../../core/geometry.ts'
import type { Upload } from '../../core/upload.ts'
import type { Assembler } from './assemble.ts'
import type { Bucket, ListedPart, Part } from './bucket.ts'
import { isCode, isMissing, isTransient, lost } from './errors.ts'
import { piecesOf, usualEtag, type Kept } from './kept-cells.ts'
import type { Source } from './reads.ts'
import type { Keys } from './refs.ts'
import { isGone } from './upload-ids.ts'

export interface Finalizing {
  bucket: Pick<Bucket, 'completeUpload' | 'listParts' | 'head' | 'deleteObject'>
  read: (source: Source) => AsyncIterable<Uint8Array>
  keys: Keys
  assembler: Assembler
}

/** Makes the object of a file out of its cells. May be broken off and done again. */
export type MakeObject = (upload: Upload, cells: readonly Kept[]) => Promise<void>

export function createMakeObject({ bucket, read, keys, assembler }: Finalizing): MakeObject {
  return async (upload, cells) => {
    if (cells.length === 0) return
    if (cells.length === 1 && cells[0]?.where.kind === 'object') return
    const pieces = piecesOf(keys, upload, cells)
    if (pieces) return assembler.assemble(upload, pieces)
    // The last piece of a file whose length was told late may lie beside it.
    const others = cells.at(-1)?.where.kind === 'staged' ? cells.slice(0, -1) : cells
    if (!others.every(({ where }) => where.kind === 'part')) throw lost('its chunks do not fit together')
    return completeParts(upload, cells)
  }

  async function completeParts(upload: Upload, cells: readonly Kept[]): Promise<void> {
    const key = keys.object(upload.id)
    if (upload.storageId === null) throw lost('the ledger does not know its multipart upload')
    try {
      await bucket.completeUpload(key, upload.storageId, await partsOf(upload, upload.storageId, cells))
    } catch (error) {
      const stumbled = isTransient(error) && (await isGone(bucket, key, upload.storageId))
      if (stumbled || isCode(error, 'NoSuchUpload') || isMissing(error)) {
        // An earlier run may have come to the end, and its answer or its commit was lost.
        if (await isAlreadyThere(upload, cells)) return
        await bucket.deleteObject(key)
        throw lost(
          isMissing(error) ? 'what was stored of it is gone' : 'its multipart upload was aborted',
          error,
        )
      }
      if (!isCode(error, 'InvalidPart')) throw error
      await completeOtherParts(upload, upload.storageId, cells, error)
    }
  }

  async function partsOf({ id }: Upload, uploadId: string, cells: readonly Kept[]): Promise<Part[]> {
    const parts: Part[] = []
    for (const { index, bytes, where } of cells) {
      const number = index + 1
      const copied = (name: string) =>
        assembler.copyWhole(keys.object(id), uploadId, number, { key: keys.piece(id, name), bytes })
      parts.push({ number, etag: where.kind === 'staged' ? await copied(where.name) : where.etag })
    }
    return parts
  }

  /**
   * Where parts have other ETags than were acknowledged: written once more by a try whose answer was
   * late, which under SSE-KMS gives the same bytes another ETag; or by somebody else, with other
   * bytes. The parts can't be read, but the object can that they make.
   */
  async function completeOtherParts(
    upload: Upload,
    uploadId: string,
    cells: readonly Kept[],
    cause: unknown,
  ): Promise<void> {
    const key = keys.object(upload.id)
    const listed = new Map<number, ListedPart>()
    for await (const part of bucket.listParts(key, uploadId)) listed.set(part.number, part)
    const parts = cells.map(({ index, bytes }) => {
      const part = listed.get(index + 1)
      if (part?.bytes !== bytes) throw lost(`its part ${index + 1} is not the one that was stored`, cause)
      return part
    })
    const others = cells.filter(
      ({ where, index }) => where.kind === 'part' && where.etag !== listed.get(index + 1)?.etag,
    )
    if (others.length === 0) throw cause
    await bucket.completeUpload(key, uploadId, parts)
    if (await haveTheirBytes(upload, others)) return
    await bucket.deleteObject(key)
    throw lost('parts of it were overwritten with other bytes', cause)
  }

  /** By its ETag, where that is made of the parts' in the usual way; else byte for byte. */
  async function isAlreadyThere(upload: Upload, cells: readonly Kept[]): Promise<boolean> {
    try {
      const { etag, bytes } = await bucket.head(keys.object(upload.id))
      if (bytes !== upload.size) return false
      return etag === usualEtag(cells) || (await haveTheirBytes(upload, cells))
    } catch (error) {
      if (isMissing(error)) return false
      throw error
    }
  }

  async function haveTheirBytes(upload: Upload, cells: readonly Kept[]): Promise<boolean> {
    const key = keys.object(upload.id)
    for (const { index, sha256 } of cells) {
      const hash = createHash('sha256')
      for await (const bytes of read({ key, range: cellRange(index, upload) })) hash.update(bytes)
      if (hash.digest('hex') !== sha256) return false
    }
    return true
  }
}

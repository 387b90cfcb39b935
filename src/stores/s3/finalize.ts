import { createHash } from 'node:crypto'
import { cellCount, cellRange } from '../../core/geometry.ts'
import type { StorageNotes } from '../../core/ports.ts'
import type { Cell, Upload } from '../../core/upload.ts'
import type { Assembler } from './assemble.ts'
import type { Bucket, ListedPart, Part } from './bucket.ts'
import { isCode, isMissing, lost } from './errors.ts'
import type { PackSource } from './pack.ts'
import type { Source } from './reads.ts'
import { parseRef, type Keys, type Ref } from './refs.ts'

export interface Finalizing {
  bucket: Pick<Bucket, 'completeUpload' | 'listParts' | 'head' | 'deleteObject'>
  read: (source: Source) => AsyncIterable<Uint8Array>
  keys: Keys
  notes: Pick<StorageNotes, 'cells'>
  assembler: Assembler
}

/** Makes the object of a file whose cells are all whole. May be broken off and done again. */
export type MakeObject = (upload: Upload) => Promise<void>

type Kept = Cell & { where: Ref }

export function createMakeObject({ bucket, read, keys, notes, assembler }: Finalizing): MakeObject {
  return async (upload) => {
    if (upload.size === 0) return
    const cells = wholeCells(upload, await notes.cells(upload.id))
    const [first, last] = [cells[0], cells.at(-1)]
    if (first?.where.kind === 'object' && cells.length === 1) return
    if (cells.every(({ where }) => where.kind === 'staged')) {
      await assembler.assemble(upload, sourcesOf(upload, cells))
      return
    }
    // The last piece of a file whose length was told late may be staged.
    const others = last?.where.kind === 'staged' ? cells.slice(0, -1) : cells
    if (!others.every(({ where }) => where.kind === 'part')) throw lost('its chunks do not fit together')
    await completeParts(upload, cells)
  }

  function sourcesOf({ id }: Upload, cells: readonly Kept[]): PackSource[] {
    return cells.map(({ where, bytes }) => ({ key: keys.piece(id, nameOf(where)), bytes }))
  }

  async function completeParts(upload: Upload, cells: readonly Kept[]): Promise<void> {
    const key = keys.object(upload.id)
    if (upload.storageId === null) throw lost('the ledger does not know its multipart upload')
    try {
      await bucket.completeUpload(key, upload.storageId, await partsOf(upload, upload.storageId, cells))
    } catch (error) {
      if (isCode(error, 'NoSuchUpload') || isMissing(error)) {
        // An earlier run may have come to the end, and its answer or its commit was lost.
        if (await isAlreadyThere(upload, cells)) return
        throw lost('its multipart upload was aborted', error)
      }
      if (!isCode(error, 'InvalidPart')) throw error
      await completeOtherParts(upload, upload.storageId, cells, error)
    }
  }

  async function partsOf({ id }: Upload, uploadId: string, cells: readonly Kept[]): Promise<Part[]> {
    const parts: Part[] = []
    for (const { index, bytes, where } of cells) {
      const number = index + 1
      const copied = () => {
        const source = { key: keys.piece(id, nameOf(where)), bytes }
        return assembler.copyWhole(keys.object(id), uploadId, number, source)
      }
      parts.push({ number, etag: where.kind === 'staged' ? await copied() : where.etag })
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

/** @throws {HttpError} storage_lost 409 when the ledger's cells are not what this store wrote of the file */
function wholeCells(upload: Upload, cells: readonly Cell[]): Kept[] {
  const { size, chunkSize } = upload
  if (size === null || cells.length !== cellCount({ size, chunkSize }))
    throw new Error(`upload ${upload.id} is to be completed without all of its cells`)
  return cells.map((cell, index) => {
    const { start, end } = cellRange(index, upload)
    if (!cell.whole || cell.index !== index || cell.bytes !== end - start)
      throw new Error(`upload ${upload.id} is to be completed without all of its cell ${index}`)
    const where = parseRef(cell.ref)
    if (!where) throw lost('what is stored of a chunk is not in this store')
    return { ...cell, where }
  })
}

const nameOf = (ref: Ref): string => (ref.kind === 'staged' ? ref.name : '')

/** MD5 over the MD5s of the parts, and their number: what S3 and most others make of plain parts. */
function usualEtag(cells: readonly Kept[]): string | null {
  const hash = createHash('md5')
  for (const { where } of cells) {
    const [, hex] = where.kind === 'part' ? (/^"([0-9a-f]{32})"$/.exec(where.etag) ?? []) : []
    if (hex === undefined) return null
    hash.update(Buffer.from(hex, 'hex'))
  }
  return `"${hash.digest('hex')}-${cells.length}"`
}

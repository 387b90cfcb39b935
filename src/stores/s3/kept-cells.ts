import { createHash } from 'node:crypto'
import { cellCount, cellRange } from '../../core/geometry.ts'
import type { Cell, Upload } from '../../core/upload.ts'
import { lost } from './errors.ts'
import type { PackSource } from './pack.ts'
import { parseRef, type Keys, type Ref } from './refs.ts'

/** A cell, and where its bytes are. */
export type Kept = Cell & { where: Ref }

/**
 * The cells of a file that is full.
 * @throws {HttpError} storage_lost 409 for cells that another store wrote
 */
export function keptCells(upload: Upload, cells: readonly Cell[]): Kept[] {
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

/** Where all of the cells are pieces beside the file: these, in order; else null. */
export function piecesOf(keys: Keys, { id }: Upload, cells: readonly Kept[]): PackSource[] | null {
  const pieces = cells.flatMap(({ where, bytes }) =>
    where.kind === 'staged' ? [{ key: keys.piece(id, where.name), bytes }] : [],
  )
  return pieces.length === cells.length ? pieces : null
}

/**
 * What S3 and most others make the ETag of an object of plain parts: the MD5 of their MD5s, and their
 * number. null where the parts' ETags are no MD5s.
 */
export function usualEtag(cells: readonly Kept[]): string | null {
  const hash = createHash('md5')
  for (const { where } of cells) {
    const [, hex] = where.kind === 'part' ? (/^"([0-9a-f]{32})"$/.exec(where.etag) ?? []) : []
    if (hex === undefined) return null
    hash.update(Buffer.from(hex, 'hex'))
  }
  return `"${hash.digest('hex')}-${cells.length}"`
}

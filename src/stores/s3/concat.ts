import type { StorageNotes } from '../../core/ports.ts'
import type { Upload } from '../../core/upload.ts'
import type { Assembler } from './assemble.ts'
import type { MakeObject } from './finalize.ts'
import { keptCells, piecesOf } from './kept-cells.ts'
import type { PackSource } from './pack.ts'
import type { Keys } from './refs.ts'

export interface Concatenating {
  keys: Keys
  notes: Pick<StorageNotes, 'cells'>
  makeObject: MakeObject
  assembler: Assembler
}

/**
 * Makes one file of several. Parts of a multipart upload can't be read before it is completed, so the
 * object of such a file is made first; no more bytes can come to it then. Pieces are copied from where
 * they are, and stay.
 */
export function createConcat({ keys, notes, makeObject, assembler }: Concatenating) {
  return async (target: Upload, parts: readonly Upload[]): Promise<void> => {
    const sources = new Map<Upload, PackSource[]>()
    for (const part of parts) if (!sources.has(part)) sources.set(part, await sourcesOf(part))
    const all = parts.flatMap((part) => sources.get(part) ?? [])
    if (all.length > 0) await assembler.assemble(target, all)
  }

  async function sourcesOf(part: Upload): Promise<PackSource[]> {
    const cells = keptCells(part, await notes.cells(part.id))
    const pieces = piecesOf(keys, part, cells)
    if (pieces) return pieces
    await makeObject(part, cells)
    return [{ key: keys.object(part.id), bytes: part.size ?? 0 }]
  }
}

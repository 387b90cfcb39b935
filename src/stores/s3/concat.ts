import type { StorageNotes } from '../../core/ports/ledger.ts'
import type { Upload } from '../../core/upload.ts'
import type { Assembler } from './assemble.ts'
import { atATime } from './at-a-time.ts'
import type { MakeObject } from './finalize.ts'
import { keptCells, piecesOf } from './kept-cells.ts'
import type { PackSource } from './pack.ts'
import type { Keys } from './refs.ts'

const AT_A_TIME = 8

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
    const distinct = new Map(parts.map((part) => [part.id, part]))
    const found = await atATime(AT_A_TIME, [...distinct.values()], sourcesOf)
    const sources = new Map([...distinct.keys()].map((id, i) => [id, found[i] ?? []]))
    const all = parts.flatMap(({ id }) => sources.get(id) ?? [])
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

import { cellAt, cellRange } from '../../src/core/geometry.ts'
import type { StorageNotes } from '../../src/core/ports/ledger.ts'
import type { Write, Written } from '../../src/core/ports/store.ts'
import type { Cell, Upload } from '../../src/core/upload.ts'

/** What a ledger keeps of the bytes of uploads, and the part of its commits that a store depends on. */
export interface KeptNotes extends StorageNotes {
  /** the row as it is now */
  rowOf(upload: Upload): Upload
  /** what is committed of the cell at `position` */
  cellOf(upload: Upload, position: number): Cell | null
  commit(write: Write, written: Written): void
  /** As if it had never been. */
  forget(upload: Upload): void
}

/** A ledger in memory of everything about uploads that concerns their store. */
export function keepNotes(): KeptNotes {
  const cells = new Map<string, Map<number, Cell>>()
  const names = new Map<string, string>()
  const staged = new Set<string>()
  const of = (id: string) => {
    const found = cells.get(id) ?? new Map<number, Cell>()
    cells.set(id, found)
    return found
  }
  return {
    cells: async (id) => [...of(id).values()].toSorted((a, b) => a.index - b.index),
    async claimStorageId(id, storageId) {
      const name = names.get(id) ?? storageId
      names.set(id, name)
      return name
    },
    async markStaged(id) {
      staged.add(id)
    },
    rowOf: (upload) => ({
      ...upload,
      storageId: names.get(upload.id) ?? null,
      staged: staged.has(upload.id),
    }),
    cellOf: (upload, position) => of(upload.id).get(cellAt(position, upload)) ?? null,
    commit({ upload, position }, { bytes, ref, sha256 }) {
      if (bytes === 0) return
      const index = cellAt(position, upload)
      const { start, end } = cellRange(index, upload)
      const to = position + bytes
      const cell = { index, bytes: to - start, whole: to === end, ref: ref ?? null, sha256: sha256 ?? null }
      of(upload.id).set(index, cell)
    },
    forget({ id }) {
      cells.delete(id)
      names.delete(id)
      staged.delete(id)
    },
  }
}

import { cellRange, isFull } from '../core/geometry.ts'
import type { CellCommit, Commit } from '../core/ports/ledger.ts'
import { isOpen, type Cell, type Status, type Upload } from '../core/upload.ts'

/** A cell as a commit finds or leaves it. */
export type CellState = Pick<Cell, 'bytes' | 'whole'>

/** What a commit does to an upload: the row after it, its cells, and the cell where the prefix may go on. */
export interface Progress {
  upload: Upload
  /** the cells that grow */
  cells: PlannedCell[]
  /** null when the commit leaves the prefix where it is */
  prefixCell: number | null
}

export type PlannedCell = CellCommit & CellState

/**
 * What `commit` makes of an upload, but for the prefix behind its own cells and the status.
 * @param cellOf the committed bytes of a cell now
 * @returns null when it is refused
 */
export function planCommit(
  upload: Upload,
  commit: Commit,
  cellOf: (index: number) => CellState | null,
): Progress | null {
  if (!isOpen(upload.status)) return null
  const cells: PlannedCell[] = []
  for (const cell of commit.cells) {
    const planned = planCell(upload, cell, cellOf(cell.index))
    if (planned === null) return null
    if (planned.bytes > planned.from) cells.push(planned)
  }
  const prefixCell = Math.floor(upload.offset / upload.chunkSize)
  return {
    upload: {
      ...upload,
      status: cells.length > 0 ? 'IN_PROGRESS' : upload.status,
      storedCells: upload.storedCells + cells.filter((cell) => cell.whole).length,
      updatedAt: commit.at,
      expiresAt: commit.expiresAt,
    },
    cells,
    prefixCell: cells.some((cell) => cell.index === prefixCell) ? prefixCell : null,
  }
}

/** Whether a cell is whole is decided here: the length may have been declared since its bytes were written. */
function planCell(upload: Upload, cell: CellCommit, now: CellState | null): PlannedCell | null {
  const { start, end } = cellRange(cell.index, upload)
  if (now?.whole || (now?.bytes ?? 0) !== cell.from) return null
  if (cell.to < cell.from || start + cell.to > end) return null
  return { ...cell, bytes: cell.to, whole: start + cell.to === end }
}

/** The upload with its new prefix, where this PATCH ended, and its next status if it is full. */
export function settle(
  upload: Upload,
  offset: number,
  { appendOffset, whenFull }: Commit,
): { upload: Upload; reached: Status | null } {
  const reached = isFull(upload) ? whenFull : null
  return {
    upload: {
      ...upload,
      offset,
      // A chunk's commit leaves the PATCH client's place alone: what lies before it stays committed.
      appendOffset: appendOffset === null ? upload.appendOffset : unlessEqual(appendOffset, offset),
      status: reached ?? upload.status,
    },
    reached,
  }
}

const unlessEqual = (place: number, offset: number): number | null => (place === offset ? null : place)

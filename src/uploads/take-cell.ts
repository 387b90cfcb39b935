import { HttpError, locked } from '../core/errors.ts'
import { cellAt, cellRange } from '../core/geometry.ts'
import type { CellCommit } from '../core/ports/ledger.ts'
import type { Hold } from '../core/ports/locker.ts'
import type { Digest, Taken, Write } from '../core/ports/store.ts'
import type { Upload } from '../core/upload.ts'
import type { Append } from './append.ts'
import { drop, turnUnder, turnUnless, type WriteDeps } from './deps.ts'

/** What came of one cell of a body. */
export interface Filled {
  /** where in the file it ends */
  position: number
  /** what waits for a commit */
  cell: CellCommit | null
  /** what the store kept of the cell before, if that is elsewhere */
  superseded: string | null
  failure: Error | null
  /** whether there is another cell behind it */
  more: boolean
  hold: Hold
}

/** How far the body got, whether there is more of it, and what is going to come of the cell. */
export interface TakenCell {
  position: number
  more: boolean
  filled: Promise<Filled>
}

/**
 * Takes what a body brings of the cell at a position: drops what is committed, and has the rest written.
 * @param digest sees every byte, also those that are dropped; null where nobody asks for one
 * @param end where in the file the body ends at the latest
 * @param failed whether a cell before it has failed: then no turn to write is given any more
 * @throws {HttpError} offset_mismatch 409
 */
export const takeCell =
  (
    { ledger, store }: Pick<WriteDeps, 'ledger' | 'store'>,
    { body, turn }: Append,
    digest: Digest | null,
    end: number,
    failed: () => boolean,
  ) =>
  async (upload: Upload, position: number, hold: Hold): Promise<TakenCell> => {
    const index = cellAt(position, upload)
    const range = cellRange(index, upload)
    const stored = await ledger.cell(upload.id, index)
    const storedEnd = range.start + (stored?.bytes ?? 0)
    if (position > storedEnd) throw new HttpError('offset_mismatch')
    const known = Math.min(storedEnd, end) - position
    const dropped = await drop(body, known, digest)
    const from = position + dropped
    if (dropped < known || from === range.end || from === end) {
      const more = dropped === known && from < end
      const nothing = { cell: null, superseded: null, failure: null }
      return { position: from, more, filled: Promise.resolve({ position: from, more, hold, ...nothing }) }
    }

    const length = Math.min(range.end, end) - from
    // A body that is shorter than it said is broken, and under a checksum counts nothing then.
    const judged = digest ? { digest, allOrNothing: body.length !== null } : {}
    const write = { upload, stored, position: from, length, body, turn: turnUnder(turn, hold), ...judged }
    const { bytes: taken, written } = await take(write)
    const more = taken === length && from + taken < end
    const filled = written.then(({ bytes, failure, ...kept }): Filled => {
      const to = from + bytes
      const cell = { index, from: from - range.start, to: to - range.start, whole: to === range.end, ...kept }
      return {
        position: to,
        cell: bytes > 0 ? cell : null,
        superseded: bytes > 0 ? (stored?.ref ?? null) : null,
        failure,
        more,
        hold,
      }
    })
    return { position: from + taken, more, filled }

    async function take(write: Write): Promise<Taken> {
      // It is as if its place were lost, which says nothing of what others write.
      const refusal = () => (failed() ? locked('What comes before it was not stored.') : null)
      if (store.ahead) return store.ahead.takeAt({ ...write, turn: turnUnless(write.turn, refusal) })
      const written = await store.writeAt(write)
      return { bytes: written.bytes, written: Promise.resolve(written) }
    }
  }

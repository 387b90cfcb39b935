import type { StorageNotes } from '../../core/ports/ledger.ts'
import type { Upload } from '../../core/upload.ts'
import type { Bucket, Payload } from './bucket.ts'
import { isMissing, lost } from './errors.ts'
import { createMemory } from './memory.ts'
import type { Source } from './reads.ts'
import { newPieceName, type Keys } from './refs.ts'
import type { Effort } from './retry.ts'

/** Bytes of a cell under a key of their own, which is written once. */
export interface Piece {
  name: string
  bytes: number
}

export interface Pieces {
  /** @returns the name of the new piece */
  put(upload: Upload, cell: number, payload: Payload, effort: Effort): Promise<string>
  /** One behind the other. @throws {HttpError} storage_lost 409 */
  read(upload: Upload, pieces: readonly Piece[]): AsyncIterable<Uint8Array>
  /** What can't be dropped now goes when the upload is completed or removed. */
  drop(upload: Upload, name: string): void
}

export function createPieces(
  bucket: Pick<Bucket, 'putPiece' | 'deleteObject'>,
  read: (source: Source) => AsyncIterable<Uint8Array>,
  keys: Keys,
  notes: Pick<StorageNotes, 'markStaged'>,
): Pieces {
  const marked = createMemory<true>()

  return {
    async put(upload, cell, payload, effort) {
      if (!upload.staged && !marked.get(upload.id)) {
        await notes.markStaged(upload.id)
        marked.set(upload.id, true)
      }
      const name = newPieceName(cell, payload.bytes)
      await bucket.putPiece(keys.piece(upload.id, name), payload, effort)
      return name
    },
    async *read({ id }, pieces) {
      try {
        for (const { name, bytes } of pieces)
          yield* read({ key: keys.piece(id, name), range: { start: 0, end: bytes } })
      } catch (error) {
        throw isMissing(error) ? lost('what was stored of a chunk is gone', error) : error
      }
    },
    drop({ id }, name) {
      bucket.deleteObject(keys.piece(id, name)).catch(() => {})
    },
  }
}

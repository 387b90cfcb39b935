import { createHash } from 'node:crypto'
import { HttpError } from '../../core/errors.ts'
import { cellAt, cellCount, cellRange } from '../../core/geometry.ts'
import type { ChunkStore, StorageNotes, Write, Written } from '../../core/ports.ts'
import type { Cell, Upload } from '../../core/upload.ts'
import type { Bucket, Payload } from './bucket.ts'
import { isCode, isMissing, lost, storageError } from './errors.ts'
import { gatherBody, startGathering, TAKE_BYTES, type Gathering } from './gather.ts'
import { createMemory } from './memory.ts'
import type { PartBuffers } from './part-buffers.ts'
import type { PutFile } from './put-file.ts'
import { newPieceName, parseRef, type Keys, type Ref, printRef } from './refs.ts'
import type { Source } from './reads.ts'
import type { Effort } from './retry.ts'
import type { UploadIds } from './upload-ids.ts'

export interface Writing {
  bucket: Pick<Bucket, 'uploadPart' | 'putPiece'>
  read: (source: Source) => AsyncIterable<Uint8Array>
  keys: Keys
  notes: Pick<StorageNotes, 'cells' | 'markStaged'>
  uploadIds: UploadIds
  putFile: PutFile
  buffers: PartBuffers
  minPartBytes: number
}

/**
 * Gathers what a body brings of a cell and sends it by one request: as a part of the file, as the
 * file, or, where it is too short to be either, as a piece that the next write or `finalize` reads.
 */
export function createWriteAt(writing: Writing): ChunkStore['writeAt'] {
  const keep = createKeep(writing)
  return async (write) => {
    const effort: Effort = { turn: write.turn, retries: 0 }
    try {
      return { ...(await writeCell(writing, keep, write, effort)), ...tries(effort) }
    } catch (error) {
      return { bytes: 0, failure: storageError(error) as Error, ...tries(effort) }
    }
  }
}

const tries = ({ retries }: Effort) => (retries > 0 ? { retries } : {})

async function writeCell(
  { read, keys, buffers }: Writing,
  keep: Keep,
  write: Write,
  effort: Effort,
): Promise<Written> {
  const { upload, position, length, stored, body } = write
  const first = await body.take(Math.min(TAKE_BYTES, length))
  // Nothing came: nothing is read, held or sent.
  if (!first) return { bytes: 0, failure: null }

  const range = cellRange(cellAt(position, upload), upload)
  const before = position - range.start
  const share = buffers.open(before + length)
  try {
    const gathering = startGathering(before + length)
    if (before > 0) {
      const more = share.grow(before)
      if (more) await more
      await readBack(read, keys, upload, stored, gathering)
    }
    await gatherBody(gathering, share, write, first)
    const bytes = gathering.bytes() - before
    if (write.allOrNothing && bytes < length) return { bytes, failure: null }
    const payload = gathering.payload()
    const ref = await keep(upload, range, payload, effort)
    return { bytes, failure: null, ref: printRef(ref), sha256: payload.sha256 }
  } finally {
    share.release()
  }
}

/** The bytes of the cell that were kept before. */
async function readBack(
  read: Writing['read'],
  keys: Keys,
  { id }: Upload,
  stored: Cell | null,
  gathering: Gathering,
): Promise<void> {
  const ref = parseRef(stored?.ref ?? null)
  if (!stored || ref?.kind !== 'staged') throw lost('what is stored of a chunk is not in this store')
  try {
    const range = { start: 0, end: stored.bytes }
    for await (const bytes of read({ key: keys.piece(id, ref.name), range })) gathering.add(bytes)
  } catch (error) {
    throw isMissing(error) ? lost('what was stored of a chunk is gone', error) : error
  }
}

type Keep = (
  upload: Upload,
  range: { start: number; end: number },
  payload: Payload,
  effort: Effort,
) => Promise<Ref>

function createKeep({ bucket, keys, notes, uploadIds, putFile, minPartBytes }: Writing): Keep {
  const marked = createMemory<true>()

  return async (upload, range, payload, effort) => {
    const whole = payload.bytes.length === range.end - range.start
    if (whole && isOneCell(upload)) return { kind: 'object', etag: await putFile(upload, payload, effort) }
    if (whole && upload.chunkSize >= minPartBytes)
      return { kind: 'part', etag: await putPart(upload, cellAt(range.start, upload), payload, effort) }
    return { kind: 'staged', name: await putPiece(upload, cellAt(range.start, upload), payload, effort) }
  }

  async function putPart(upload: Upload, index: number, payload: Payload, effort: Effort): Promise<string> {
    const uploadId = await uploadIds.of(upload, effort)
    try {
      return await bucket.uploadPart(keys.object(upload.id), uploadId, index + 1, payload, effort)
    } catch (error) {
      if (!isCode(error, 'NoSuchUpload')) throw error
      // A writer who comes so late that the file is complete finds no multipart upload either.
      const cell = (await notes.cells(upload.id)).find((stored) => stored.index === index)
      if (cell?.whole) throw new HttpError('conflict', { detail: 'The chunk was stored meanwhile.' })
      throw lost('its multipart upload was aborted', error)
    }
  }

  async function putPiece(upload: Upload, index: number, payload: Payload, effort: Effort): Promise<string> {
    if (!upload.staged && !marked.get(upload.id)) {
      await notes.markStaged(upload.id)
      marked.set(upload.id, true)
    }
    const name = newPieceName(index, payload.bytes.length)
    await bucket.putPiece(keys.piece(upload.id, name), payload, effort)
    return name
  }
}

/** An undeclared length may turn out to be one cell, but nobody knows yet. */
const isOneCell = (upload: Upload): boolean => cellCount(upload) === 1

/** Compares by the hash that the ledger has: no request. */
export const compareAt: ChunkStore['compareAt'] = async ({ length, stored, body, digest }) => {
  const hash = createHash('sha256')
  let bytes = 0
  while (bytes < length) {
    const batch = await body.take(Math.min(TAKE_BYTES, length - bytes))
    if (!batch) break
    for (const piece of batch) {
      hash.update(piece)
      digest?.update(piece)
      bytes += piece.length
    }
  }
  if (!stored?.sha256)
    return { bytes, same: false, failure: lost('what is stored of a chunk is not in this store') }
  // Of a body that ended early there is nothing to be said.
  return { bytes, same: bytes < stored.bytes || hash.digest('hex') === stored.sha256, failure: null }
}

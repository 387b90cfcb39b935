import { createHash } from 'node:crypto'
import { HttpError } from '../../core/errors.ts'
import { cellAt, cellCount, cellRange } from '../../core/geometry.ts'
import type { StorageNotes } from '../../core/ports/ledger.ts'
import type { ChunkStore, Write, WritesAhead, Written } from '../../core/ports/store.ts'
import type { Cell, Upload } from '../../core/upload.ts'
import type { Bucket, Payload } from './bucket.ts'
import { isCode, lost, storageError } from './errors.ts'
import { startGathering, type Gathering } from './gather.ts'
import type { PartBuffers, Share } from './part-buffers.ts'
import type { Piece, Pieces } from './pieces.ts'
import type { PutFile } from './put-file.ts'
import { parseRef, printRef, type Keys, type Ref } from './refs.ts'
import type { Effort } from './retry.ts'
import type { UploadIds } from './upload-ids.ts'

export interface Writing {
  bucket: Pick<Bucket, 'uploadPart'>
  keys: Keys
  notes: Pick<StorageNotes, 'cells'>
  uploadIds: UploadIds
  putFile: PutFile
  pieces: Pieces
  buffers: PartBuffers
  minPartBytes: number
}

/** The most that is taken of a body at a time, and so what it may bring beyond its share of memory. */
const TAKE_BYTES = 256 * 1024

/** As many parts as the SDK's own uploader sends at a time: one alone would leave the line to S3 idle in between. */
const CELLS_AHEAD = 4

/**
 * Gathers what a body brings of a cell and sends it by one request: as a part of the file, as the
 * file, or, where it is too short to be either, as a piece that the next write or `finalize` reads.
 */
export function createWriting(writing: Writing): Pick<ChunkStore, 'writeAt'> & { ahead: WritesAhead } {
  const takeAt: WritesAhead['takeAt'] = async (write) => {
    const effort: Effort = { turn: write.turn, retries: 0 }
    const failed = (error: unknown): Written => ({
      bytes: 0,
      failure: storageError(error) as Error,
      ...tries(effort),
    })
    try {
      const { bytes, send } = await gatherCell(writing, write, effort)
      const written = send().then((sent) => ({ ...sent, ...tries(effort) }), failed)
      return { bytes, written }
    } catch (error) {
      return { bytes: 0, written: Promise.resolve(failed(error)) }
    }
  }
  return {
    writeAt: async (write) => (await takeAt(write)).written,
    ahead: { cells: CELLS_AHEAD, takeAt },
  }
}

const tries = ({ retries }: Effort) => (retries > 0 ? { retries } : {})

/** What was taken of the body, and how it is brought to S3, which must be done: it gives the memory back. */
interface Gathered {
  bytes: number
  send(): Promise<Written>
}

const nothing = (bytes: number): Gathered => ({ bytes, send: async () => ({ bytes, failure: null }) })

async function gatherCell(writing: Writing, write: Write, effort: Effort): Promise<Gathered> {
  const { pieces, buffers } = writing
  const { upload, position, length, stored, body } = write
  const first = await body.take(Math.min(TAKE_BYTES, length))
  // Nothing came: nothing is read, held or sent.
  if (!first) return nothing(0)

  const index = cellAt(position, upload)
  const range = cellRange(index, upload)
  const before = position - range.start
  const share = buffers.open(before + length)
  const gathering = startGathering(share)
  const laidAside: Piece[] = []
  const layAside = () =>
    gathering.layAside(async (payload) => {
      const name = await pieces.put(upload, index, payload, effort)
      laidAside.push({ name, bytes: payload.bytes })
    })
  const release = () => {
    share.release()
    for (const { name } of laidAside) pieces.drop(upload, name)
  }
  try {
    if (before > 0)
      for await (const bytes of pieces.read(upload, [pieceOf(stored)])) await gathering.add([bytes])
    await gatherBody(gathering, share, write, first, layAside)
    const bytes = gathering.bytes() - before
    if (write.allOrNothing && bytes < length) {
      release()
      return nothing(bytes)
    }
    if (laidAside.length > 0) await gathering.bringBack(pieces.read(upload, laidAside))
    const payload = gathering.payload()
    const send = async (): Promise<Written> => {
      try {
        const ref = await keep(writing, upload, range, payload, effort)
        return { bytes, failure: null, ref: printRef(ref), sha256: payload.sha256 }
      } finally {
        release()
      }
    }
    return { bytes, send }
  } catch (error) {
    release()
    throw error
  }
}

/** What the ledger knows of the cell: bytes that are not all of it lie beside the file. */
function pieceOf(stored: Cell | null): Piece {
  const ref = parseRef(stored?.ref ?? null)
  if (!stored || ref?.kind !== 'staged') throw lost('what is stored of a chunk is not in this store')
  return { name: ref.name, bytes: stored.bytes }
}

/**
 * Takes the bytes of a write, `first` being those that have come already. While there is no memory
 * for more, the client is held back. A client that holds memory and does not get on while others wait
 * for it has what it sent laid aside.
 */
async function gatherBody(
  gathering: Gathering,
  share: Share,
  { body, length, digest }: Write,
  first: Uint8Array[],
  layAside: () => Promise<void>,
): Promise<void> {
  const end = gathering.bytes() + length
  let batch: Uint8Array[] | null = first
  while (batch) {
    await gathering.add(batch)
    if (digest) for (const piece of batch) await digest.update(piece)
    const left = end - gathering.bytes()
    batch = left > 0 ? await unlessPressed(body.take(Math.min(TAKE_BYTES, left)), share, layAside) : null
  }
}

async function unlessPressed<T>(taking: Promise<T>, share: Share, giveWay: () => Promise<void>): Promise<T> {
  const taken = taking.then((value) => ({ value }))
  taken.catch(() => {}) // told below, unless giving way fails first
  for (;;) {
    const pressed = new Promise<null>((resolve) => share.onPressed(() => resolve(null)))
    const came = await Promise.race([taken, pressed])
    share.onPressed(null)
    if (came) return came.value
    await giveWay()
  }
}

async function keep(
  { bucket, keys, notes, uploadIds, putFile, pieces, minPartBytes }: Writing,
  upload: Upload,
  range: { start: number; end: number },
  payload: Payload,
  effort: Effort,
): Promise<Ref> {
  const index = cellAt(range.start, upload)
  const whole = payload.bytes === range.end - range.start
  if (whole && isOneCell(upload)) return { kind: 'object', etag: await putFile(upload, payload, effort) }
  if (!whole || upload.chunkSize < minPartBytes)
    return { kind: 'staged', name: await pieces.put(upload, index, payload, effort) }

  const uploadId = await uploadIds.of(upload, effort)
  try {
    const key = keys.object(upload.id)
    return { kind: 'part', etag: await bucket.uploadPart(key, uploadId, index + 1, payload, effort) }
  } catch (error) {
    if (!isCode(error, 'NoSuchUpload')) throw error
    // A writer who comes so late that the file is complete finds no multipart upload either.
    const cell = (await notes.cells(upload.id)).find((stored) => stored.index === index)
    if (cell?.whole) throw new HttpError('conflict', { detail: 'The chunk was stored meanwhile.' })
    throw lost('its multipart upload was aborted', error)
  }
}

/** A length that is not declared may turn out to be one cell, but nobody knows yet. */
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
      await digest?.update(piece)
      bytes += piece.length
    }
  }
  if (!stored?.sha256)
    return { bytes, same: false, failure: lost('what is stored of a chunk is not in this store') }
  // Of a body that ended early there is nothing to be said.
  return { bytes, same: bytes < stored.bytes || hash.digest('hex') === stored.sha256, failure: null }
}

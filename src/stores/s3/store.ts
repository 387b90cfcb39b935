import type { StorageNotes } from '../../core/ports/ledger.ts'
import type { Meter } from '../../core/ports/meter.ts'
import type { ChunkStore } from '../../core/ports/store.ts'
import type { Upload } from '../../core/upload.ts'
import { createAssembler } from './assemble.ts'
import { createBucket } from './bucket.ts'
import { createClient, type S3Place } from './client.ts'
import { createConcat } from './concat.ts'
import { isMissing, isRefusedByCondition, storageError } from './errors.ts'
import { createMakeObject } from './finalize.ts'
import { keptCells, type Kept } from './kept-cells.ts'
import { createPartBuffers } from './part-buffers.ts'
import { createPieces } from './pieces.ts'
import { presignGet } from './presign.ts'
import { createPutFile } from './put-file.ts'
import { createAheadBudget, readObject, type Source } from './reads.ts'
import { keysUnder, parseRef } from './refs.ts'
import { removeAll, removePieces } from './remove.ts'
import { createRetry, type RetryOptions } from './retry.ts'
import { abortIfThere, createUploadIds } from './upload-ids.ts'
import { compareAt, createWriting } from './writes.ts'

export interface S3Options extends S3Place {
  /** as the log and the greeting call it */
  name: string
  /** memory for bytes on their way to S3 */
  partBufferBytes: number
  /** tries beyond the first */
  maxRetries: number
  /** null: downloads go through us */
  presignedSeconds: number | null
}

export interface S3Deps {
  notes: StorageNotes
  meter: Pick<Meter, 'storeRetried' | 'storePut'>
  /** headers of every request, which are not signed */
  outgoing?: () => Record<string, string>
  /** how pauses between tries are made */
  pauses?: Pick<RetryOptions, 'random' | 'sleep'>
}

/** S3's limit on a part, and on what a single request may put. */
const MAX_PART_BYTES = 5 * 1024 ** 3
/** Of a part that is packed in memory: as few as there may be, and several at a time. */
const PACKED_PART_BYTES = 16 * 1024 * 1024
/** Memory for what downloads read ahead, beside the buffers of writers. */
const AHEAD_BYTES = 32 * 1024 * 1024
const PROBE_TIMEOUT_MS = 3_000

/**
 * Bytes in a bucket of S3, or of something that speaks its language. A cell is a part of the file's
 * one multipart upload; a file of one cell is put at once. What is too short for a part lies beside
 * the file until its cell is whole, under a key that is written once. What counts, and where it is,
 * stands in the ledger: nothing is ever looked for in the bucket but on the way out.
 */
export function createS3Store(
  options: S3Options,
  { notes, meter, outgoing, pauses = {} }: S3Deps,
): ChunkStore {
  const buffers = createPartBuffers(options.partBufferBytes)
  const client = createClient(
    options,
    Math.min(PACKED_PART_BYTES, Math.floor(buffers.maxBytes / 3)),
    outgoing,
  )
  const keys = keysUnder(options.keyPrefix)
  const retry = createRetry({ maxRetries: options.maxRetries, meter, ...pauses })
  const bucket = createBucket(client, options, retry, meter)
  const reading = { bucket, retry, aheadBudget: createAheadBudget(AHEAD_BYTES) }
  const read = (source: Source) => readObject(reading, source)

  const uploadIds = createUploadIds(bucket, keys, notes)
  const putFile = createPutFile(bucket, keys, notes)
  const pieces = createPieces(bucket, read, keys, notes)
  const { minPartBytes, partBytesFor } = client
  const shared = { bucket, read, keys, notes, uploadIds, buffers, minPartBytes }
  const assembler = createAssembler({ ...shared, partBytesFor })
  const makeObject = createMakeObject({ ...shared, assembler })
  const concat = createConcat({ ...shared, makeObject, assembler })
  const { presignedSeconds } = options
  let checking: Promise<void> | undefined

  return {
    name: options.name,
    maxChunkBytes: Math.min(buffers.maxBytes, MAX_PART_BYTES),
    ...createWriting({ ...shared, putFile, pieces }),
    compareAt,

    finalize: (upload) =>
      surfaced(async () => {
        const cells = keptCells(upload, await notes.cells(upload.id))
        await makeObject(upload, cells)
        if (upload.staged) await removePieces(bucket, keys, upload.id)
        await abortUnused(upload, cells)
      }),

    discard(upload, refs) {
      for (const text of refs) {
        const ref = parseRef(text)
        if (ref?.kind === 'staged') pieces.drop(upload, ref.name)
      }
    },

    concat: (target, parts) => surfaced(() => concat(target, parts)),

    read: (upload, range) =>
      readObject(reading, { key: keys.object(upload.id), range, etag: () => etagOf(upload) }, readFailure),

    remove: (upload) => surfaced(() => removeAll(bucket, keys, upload)),

    ...(presignedSeconds !== null && {
      presign: (upload: Upload, headers) =>
        surfaced(() => presignGet(client, keys.object(upload.id), headers, presignedSeconds)),
    }),

    check,
  }

  /** Anybody may ask, and every question costs: those who ask at once share the answer. */
  function check(): Promise<void> {
    const probe = () => bucket.probe(options.keyPrefix, AbortSignal.timeout(PROBE_TIMEOUT_MS))
    checking ??= surfaced(probe).finally(() => (checking = undefined))
    return checking
  }

  /**
   * A file whose length is told late may turn out to be one cell that is put at once, though a part of it
   * that never came to count had begun a multipart upload.
   */
  async function abortUnused({ id, storageId }: Upload, cells: readonly Kept[]): Promise<void> {
    if (storageId === null || cells.length > 1 || cells[0]?.where.kind === 'part') return
    await abortIfThere(bucket, keys.object(id), storageId)
  }

  /** A file of one cell is read only as the very object that was acknowledged. */
  async function etagOf({ id, size, chunkSize }: Upload): Promise<string | null> {
    if (size === null || size > chunkSize) return null
    const [cell] = await notes.cells(id)
    const ref = parseRef(cell?.ref ?? null)
    return ref?.kind === 'object' ? ref.etag : null
  }
}

async function surfaced<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw storageError(error)
  }
}

/** A file that is complete and not there, or another one there, does not get better by trying again. */
const readFailure = (error: unknown): unknown =>
  isMissing(error) || isRefusedByCondition(error)
    ? new Error('the object of a complete upload is not there any more', { cause: error })
    : storageError(error)

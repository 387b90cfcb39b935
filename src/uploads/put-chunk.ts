import { HttpError } from '../core/errors.ts'
import { cellCount, cellRange } from '../core/geometry.ts'
import type { Body, Turn } from '../core/ports/body.ts'
import type { Hash } from '../core/ports/hash.ts'
import type { CellCommit, Once } from '../core/ports/ledger.ts'
import type { Hold } from '../core/ports/locker.ts'
import { assertOpen, completesByItself, isExpired, type Upload } from '../core/upload.ts'
import { commitCells } from './commit.ts'
import { assertUnbroken, holderOf, turnUnder, type WriteDeps } from './deps.ts'
import { reportLoss } from './loss.ts'
import { look, noteDone } from './once.ts'

export interface PutChunk {
  id: string
  index: number
  body: Body
  turn: Turn
  /** what the client says the body's SHA-256 is, hex; every one given must hold */
  sha256: readonly string[]
  /** for a request that brings an Idempotency-Key */
  once?: Once | null
}

/**
 * Stores one whole cell. What is committed of it already must be the same bytes; only the rest is
 * written. A body that breaks off, or is not what it should be, counts nothing. What was stored under a key
 * is so under it for good: its bytes are compared as long as they are kept, and later not even read.
 * @throws {HttpError} bad_request 400, conflict 409, payload_too_large 413, gone 410, not_found 404
 */
export const putChunk =
  (deps: WriteDeps) =>
  async ({ id, index, body, turn, sha256, once = null }: PutChunk): Promise<void> => {
    const { upload, done } = await look(deps, id, once)
    if (done && !keepsBytes(upload, deps.expiryNow())) return
    if (!upload) throw new HttpError('not_found')
    const plan = done ? chunkLength : planChunk
    const length = plan(upload, index, body.length, deps.limits.maxUploadBytes, deps.expiryNow())
    const hold = await deps.locker.acquire(id, index, holderOf(body), true)
    const again = done !== null
    let hash: Hash | null = null
    try {
      if (sha256.length > 0) hash = deps.openHash('sha256', length)
      const chunk = { index, body, turn: turnUnder(turn, hold), sha256, hash, length, hold, again }
      await storeChunk(deps, upload, chunk)
    } catch (error) {
      deps.meter.chunkFailed(upload.dialect)
      throw await reportLoss(deps, upload.id, error, [hold])
    } finally {
      hash?.drop()
      await hold.release()
    }
    if (!done) await noteDone(deps, once)
  }

const keepsBytes = (upload: Upload | null, now: Date): boolean =>
  upload !== null && upload.status !== 'FAILED' && !isExpired(upload, now)

/**
 * Decides whether a chunk may come.
 * @param announced bytes of the body, null when it is chunked
 * @param maxUploadBytes the longest file, which bounds one of deferred length
 * @returns the bytes that it must have
 * @throws {HttpError} bad_request 400, payload_too_large 413, conflict 409, gone 410
 */
export function planChunk(
  upload: Upload,
  index: number,
  announced: number | null,
  maxUploadBytes: number,
  now: Date,
): number {
  assertOpen(upload, now)
  return chunkLength(upload, index, announced, maxUploadBytes)
}

function chunkLength(
  upload: Upload,
  index: number,
  announced: number | null,
  maxUploadBytes: number,
): number {
  const shape = { size: upload.size ?? maxUploadBytes, chunkSize: upload.chunkSize }
  const count = cellCount(shape)
  if (index >= count)
    throw new HttpError('bad_request', { detail: `chunk_index: the upload has ${count} chunks, from 0.` })
  const { start, end } = cellRange(index, shape)
  const length = end - start
  if (announced === 0) throw new HttpError('bad_request', { detail: 'The chunk is empty.' })
  if (announced !== null && announced > length) throw tooLong(length)
  if (announced !== null && announced < length) throw tooShort(announced, length)
  return length
}

interface Chunk extends Omit<PutChunk, 'id' | 'once'> {
  length: number
  hold: Hold
  /** of the body; null where nobody says what it should be */
  hash: Hash | null
  /** whether it was stored before, and may only have to be compared */
  again: boolean
}

async function storeChunk(
  deps: WriteDeps,
  upload: Upload,
  { index, body, turn, sha256, hash, length, hold, again }: Chunk,
): Promise<void> {
  const { ledger, store } = deps
  const [stored, now] = await Promise.all([ledger.cell(upload.id, index), ledger.get(upload.id)])
  // Whoever deletes it waits for the holders of places: none of them writes that has not seen it since.
  if (!now) throw new HttpError('not_found')
  if (!again) assertOpen(now, deps.expiryNow())
  const committed = stored?.bytes ?? 0
  const position = cellRange(index, upload).start
  const write = { upload, stored, body, turn, ...(hash && { digest: hash }) }

  let kept: Partial<CellCommit> = {}
  let taken = 0
  let same = true
  if (committed > 0) {
    const compared = await store.compareAt({ ...write, position, length: committed })
    if (compared.failure) throw compared.failure
    taken = compared.bytes
    same = compared.same
  }
  if (same && taken === committed && committed < length) {
    const { bytes, failure, ...rest } = await store.writeAt({
      ...write,
      position: position + taken,
      length: length - taken,
      allOrNothing: true,
    })
    if (failure) throw failure
    taken += bytes
    kept = rest
  }
  let digest: string | null = null
  try {
    if (hash) digest = Buffer.from(await hash.digest()).toString('hex')
    await assertGood()
  } catch (error) {
    if (kept.ref !== undefined) store.discard?.(upload, [kept.ref])
    throw error
  }
  if (committed === length) return

  await commitCells(deps)(upload, {
    cells: [
      {
        index,
        from: committed,
        to: length,
        whole: true,
        ...(digest !== null && { sha256: digest }),
        ...kept,
      },
    ],
    holds: [hold],
    superseded: stored?.ref ? [stored.ref] : [],
    fills: completesByItself(upload),
  })

  async function assertGood(): Promise<void> {
    assertUnbroken(body)
    if (!same) throw new HttpError('conflict', { detail: 'The chunk is stored already, with other bytes.' })
    if (taken === 0) throw new HttpError('bad_request', { detail: 'The chunk is empty.' })
    if (taken < length) throw tooShort(taken, length)
    if ((await body.take(1)) !== null) throw tooLong(length)
    // A chunked body may have broken off behind its last byte: nobody has said that it ends there.
    assertUnbroken(body)
    if (sha256.some((expected) => expected !== digest))
      throw new HttpError('bad_request', { detail: 'The SHA-256 of the body is not the announced one.' })
  }
}

const tooLong = (length: number) =>
  new HttpError('payload_too_large', { detail: `The body is longer than the chunk's ${length} bytes.` })

const tooShort = (bytes: number, length: number) =>
  new HttpError('bad_request', { detail: `The chunk must have ${length} bytes, not ${bytes}.` })

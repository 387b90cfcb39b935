import { HttpError } from '../core/errors.ts'
import { cellAt, cellRange } from '../core/geometry.ts'
import type { Body, CellCommit, Digest, Hold, Turn } from '../core/ports.ts'
import { completesByItself, isOpen, type Upload } from '../core/upload.ts'
import { commitCells } from './commit.ts'
import { settled } from './complete.ts'
import { assertUnbroken, drop, holderOf, statusWhenFull, turnUnder, type WriteDeps } from './deps.ts'
import { reportLoss } from './loss.ts'
import { planAppend } from './plan-append.ts'

export interface Append {
  id: string
  /** where the client says its bytes begin */
  offset: number
  /** the length that the request declares, for an upload whose length was deferred */
  declaredSize: number | null
  body: Body
  turn: Turn
  /** Given: no byte counts before the verdict over all of them. */
  checksum: Checksum | null
}

/** Sees every byte of a body, and judges at its end. */
export interface Checksum extends Digest {
  /** @throws {HttpError} checksum_mismatch 460, bad_request 400 */
  verify(): void
}

export interface Appended {
  /** the request's offset plus the bytes that it brought */
  offset: number
  upload: Upload
}

/**
 * Appends a body at the committed prefix, a cell at a time. Commits as it crosses cells and at its
 * end, so that what arrived counts when the client breaks off; but a checksummed body at once, after
 * its verdict, or not at all.
 * @throws {HttpError} locked 423, offset_mismatch 409, payload_too_large 413, gone 410, not_found 404
 * @see https://tus.io/protocols/resumable-upload#patch
 */
export const appendTo =
  (deps: WriteDeps) =>
  async (append: Append): Promise<Appended> => {
    const { id, offset, declaredSize, body } = append
    const places = { held: [await deps.locker.acquire(id, 'append', holderOf(body), false)], left: [] }
    try {
      let upload = await settled(deps, deps.finish, id)
      if (!upload) throw new HttpError('not_found')
      const request = { offset, declaredSize, bodyLength: body.length }
      const plan = planAppend(upload, request, deps.limits.maxUploadBytes, deps.expiryNow())
      if (plan.declares !== null) upload = await declare(deps, upload, plan.declares)
      return await fill(deps, upload, append, offset + plan.maxBytes, places)
    } finally {
      await leaveAll(places)
    }
  }

/** What a PATCH holds, its append first, and the releases of cells that it has left behind. */
interface Places {
  held: Hold[]
  left: Promise<void>[]
}

/** Nobody waits for this before the answer, which waits for all of them. */
function leaveCells({ held, left }: Places): void {
  left.push(...held.splice(1).map((hold) => hold.release()))
}

async function leaveAll({ held, left }: Places): Promise<void> {
  await Promise.all([...left, ...held.map((hold) => hold.release())])
}

async function declare(deps: WriteDeps, upload: Upload, size: number): Promise<Upload> {
  const whenFull = completesByItself(upload) ? statusWhenFull(deps, upload) : null
  const declared = await deps.ledger.declareSize(upload.id, size, deps.now(), whenFull)
  if (!declared.upload) throw new HttpError('not_found')
  if (!declared.ok && declared.upload.size !== size)
    throw new HttpError('bad_request', { detail: 'Upload-Length does not fit what is stored already.' })
  if (!declared.ok) return declared.upload
  if (declared.reached === 'COMPLETED') deps.meter.uploadCompleted(upload.dialect)
  return declared.reached === 'FINALIZING' ? deps.finish(upload.id) : declared.upload
}

/** What came of one cell: how far the body got, what of it waits for a commit, and whether there is more. */
interface Filled {
  position: number
  cell: CellCommit | null
  /** what the store kept of the cell before, if that is elsewhere */
  superseded: string | null
  failure: Error | null
  more: boolean
}

async function fill(
  deps: WriteDeps,
  start: Upload,
  append: Append,
  end: number,
  places: Places,
): Promise<Appended> {
  const { id, offset, body, checksum } = append
  const pending: Filled[] = []
  let upload = start
  let position = offset
  let settled = start.appendOffset ?? start.offset
  let judged = false
  const settle = async (filled: Filled[]) => {
    upload = await commitCells(deps)(upload, {
      cells: filled.flatMap(({ cell }) => cell ?? []),
      superseded: filled.flatMap(({ superseded }) => superseded ?? []),
      holds: places.held,
      appendOffset: position,
      fills: fillsAt(upload, position),
    })
    settled = position
  }

  try {
    let more = position < end
    while (more) {
      const index = cellAt(position, upload)
      const hold = await deps.locker.acquire(id, index, holderOf(body), true)
      places.held.push(hold)
      const filled = await fillCell(deps, upload, append, { index, position, end, hold })
      position = filled.position
      more = filled.more && position < end
      if (filled.cell && checksum) pending.push(filled)
      else if (filled.cell) await settle([filled])
      if (filled.failure) throw await reportLoss(deps, upload.id, filled.failure, places.held)
      if (more && !checksum) leaveCells(places)
    }
    if (checksum) {
      await assertWhole(body)
      checksum.verify()
    }
    judged = true
    // Where the last bytes were dropped, the ledger has yet to learn where the client is; and an upload
    // whose bytes are all there may have waited for this PATCH to complete it.
    const unrecorded = position !== upload.offset && position !== settled
    const unfinished = upload.offset === upload.size && fillsAt(upload, position)
    if (pending.length > 0 || (isOpen(upload.status) && (unrecorded || unfinished))) await settle(pending)
    await assertWhole(body)
  } catch (error) {
    // What a commit was tried for may count, whatever came of it.
    if (!judged)
      deps.store.discard?.(
        upload,
        pending.flatMap(({ cell }) => cell?.ref ?? []),
      )
    deps.meter.chunkFailed(upload.dialect)
    throw error
  }
  return { offset: position, upload }
}

/** An upload of init waits for `complete`, but a PATCH that reaches its end completes it as well. */
const fillsAt = (upload: Upload, position: number): boolean =>
  completesByItself(upload) || (upload.dialect === 'native' && position === upload.size)

async function fillCell(
  { ledger, store }: WriteDeps,
  upload: Upload,
  { body, turn, checksum }: Append,
  { index, position, end, hold }: { index: number; position: number; end: number; hold: Hold },
): Promise<Filled> {
  const range = cellRange(index, upload)
  const stored = await ledger.cell(upload.id, index)
  const storedEnd = range.start + (stored?.bytes ?? 0)
  if (position > storedEnd) throw new HttpError('offset_mismatch')
  const known = Math.min(storedEnd, end) - position
  const dropped = await drop(body, known, checksum)
  const from = position + dropped
  if (dropped < known || from === range.end || from === end)
    return { position: from, cell: null, superseded: null, failure: null, more: dropped === known }

  const length = Math.min(range.end, end) - from
  // A body that is shorter than it said is broken, and under a checksum counts nothing then.
  const digest = checksum ? { digest: checksum, allOrNothing: body.length !== null } : {}
  const write = { upload, stored, position: from, length, body, turn: turnUnder(turn, hold), ...digest }
  const { bytes, failure, ...kept } = await store.writeAt(write)
  const to = from + bytes
  const cell = { index, from: from - range.start, to: to - range.start, whole: to === range.end, ...kept }
  return {
    position: to,
    cell: bytes > 0 ? cell : null,
    superseded: bytes > 0 ? (stored?.ref ?? null) : null,
    failure,
    more: bytes === length,
  }
}

/** @throws what broke the body; payload_too_large 413 when a chunked one goes on past the end */
async function assertWhole(body: Body): Promise<void> {
  assertUnbroken(body)
  if (body.length === null && (await body.take(1)) !== null)
    throw new HttpError('payload_too_large', { detail: 'The body goes past the end of the upload.' })
  assertUnbroken(body)
}

import { HttpError, locked } from '../core/errors.ts'
import { cellAt } from '../core/geometry.ts'
import type { Body, Turn } from '../core/ports/body.ts'
import type { Hold } from '../core/ports/locker.ts'
import { completesByItself, isOpen, type Upload } from '../core/upload.ts'
import { commitCells } from './commit.ts'
import { settled } from './complete.ts'
import { assertUnbroken, holderOf, statusWhenFull, type WriteDeps } from './deps.ts'
import { openDigests, type Digests } from './digests.ts'
import { createLine } from './in-order.ts'
import { reportLoss } from './loss.ts'
import { planAppend } from './plan-append.ts'
import { takeCell, type Filled } from './take-cell.ts'

export interface Append {
  id: string
  /** the upload, where this very request has created it: it need not be looked up. What others may have done since, each cell and the commit tell. */
  created?: Upload | null
  /** where the client says its bytes begin */
  offset: number
  /** the length that the request declares, for an upload whose length was deferred */
  declaredSize: number | null
  body: Body
  turn: Turn
  /** Given: no byte counts before the verdict over all of them. */
  checksum: Checksum | null
}

/** What a client says of all bytes of a body. */
export interface Checksum {
  /** those that it may turn out to have used */
  algorithms: readonly string[]
  /** Known at the body's end. @throws {HttpError} bad_request 400 */
  announced(): { algorithm: string; digest: Uint8Array }
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
    const hold = await deps.locker.acquire(id, 'append', holderOf(body), false)
    const places = { held: [hold], left: [] }
    try {
      const found = append.created ?? (await settled(deps, deps.finish, id))
      if (!found) throw new HttpError('not_found')
      const request = { offset, declaredSize, bodyLength: body.length }
      const { maxUploadBytes } = deps.limits
      const plan = planBehind(hold, () => planAppend(found, request, maxUploadBytes, deps.expiryNow()))
      const upload = plan.declares === null ? found : await declare(deps, found, plan.declares)
      return await fill(deps, upload, append, offset + plan.maxBytes, places)
    } catch (error) {
      // Whoever deleted it since it was created removed its bytes before these came.
      if (append.created && error instanceof HttpError && error.code === 'not_found')
        await deps.store.remove(append.created)
      throw error
    } finally {
      await leaveAll(places)
    }
  }

/** @throws {HttpError} checksum_mismatch 460, bad_request 400 */
async function verify({ announced }: Checksum, digests: Digests): Promise<void> {
  const { algorithm, digest } = announced()
  if (Buffer.compare(await digests.of(algorithm), digest) !== 0) throw new HttpError('checksum_mismatch')
}

/**
 * Whose PATCH took over may have asked for the offset before what the silent one brought counted: their own
 * place is right a moment later. Some clients take 409 for the end, and come again on 423.
 * @throws {HttpError} locked 423 in place of offset_mismatch 409
 */
function planBehind<T>({ afterAnother }: Hold, plan: () => T): T {
  try {
    return plan()
  } catch (error) {
    const moved = error instanceof HttpError && error.code === 'offset_mismatch'
    throw afterAnother && moved ? locked('The offset has moved meanwhile: ask for it again.') : error
  }
}

/** What a PATCH holds, its append first, and the releases of cells that it has left behind. */
interface Places {
  held: Hold[]
  left: Promise<void>[]
}

/** Nobody waits for this before the answer, which waits for all of them. */
function leave({ held, left }: Places, hold: Hold): void {
  held.splice(held.indexOf(hold), 1)
  left.push(hold.release())
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

/**
 * Takes cell after cell of the body. While one is on its way into storage the next ones may be taken, as far
 * as the store likes that; they are committed in their order, so that the offset never passes a gap.
 */
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
  const commit = async (filled: readonly Filled[], to: number, holds: readonly Hold[]) => {
    upload = await commitCells(deps)(upload, {
      cells: filled.flatMap(({ cell }) => cell ?? []),
      superseded: filled.flatMap(({ superseded }) => superseded ?? []),
      holds,
      appendOffset: to,
      fills: fillsAt(upload, to),
    })
    settled = to
  }
  const discard = (filled: readonly Filled[]) =>
    deps.store.discard?.(
      upload,
      filled.flatMap(({ cell }) => cell?.ref ?? []),
    )
  const settle = async (filled: Filled) => {
    const holds = [...places.held.slice(0, 1), filled.hold]
    if (filled.cell && checksum) pending.push(filled)
    else if (filled.cell) await commit([filled], filled.position, holds)
    if (filled.failure) throw await reportLoss(deps, id, filled.failure, holds)
    if (filled.more && !checksum) leave(places, filled.hold)
  }
  let failure: Error | null = null
  const line = createLine<Filled>({
    most: deps.store.ahead?.cells ?? 0,
    settle,
    // What comes behind it does not count: it need not be taken or sent any more.
    failed: (error) => body.stop((failure = error as Error)),
    abandon: (filled) => discard([filled]),
  })
  const digests = checksum && openDigests(deps.openHash, checksum.algorithms, body.length)
  const takeNext = takeCell(deps, append, digests, end, () => failure !== null)

  try {
    try {
      for (let more = position < end; more;) {
        const holder = holderOf(body)
        const hold = await deps.locker.acquire(id, cellAt(position, upload), holder, true)
        places.held.push(hold)
        const taken = await takeNext(upload, position, hold)
        position = taken.position
        more = taken.more
        await line.add(taken.filled)
      }
    } finally {
      // What had come before counts, also where the next cell could not be taken.
      await line.end()
    }
    if (checksum && digests) {
      await assertWhole(body)
      await verify(checksum, digests)
    }
    judged = true
    // Where the last bytes were dropped, the ledger has yet to learn where the client is; and an upload
    // whose bytes are all there may have waited for this PATCH to complete it.
    const unrecorded = position !== upload.offset && position !== settled
    const unfinished = upload.offset === upload.size && fillsAt(upload, position)
    if (pending.length > 0 || (isOpen(upload.status) && (unrecorded || unfinished)))
      await commit(pending, position, places.held)
    await assertWhole(body)
  } catch (error) {
    // What a commit was tried for may count, whatever came of it.
    if (!judged) discard(pending)
    deps.meter.chunkFailed(upload.dialect)
    throw error
  } finally {
    digests?.drop()
  }
  return { offset: position, upload }
}

/** An upload of init waits for `complete`, but a PATCH that reaches its end completes it as well. */
const fillsAt = (upload: Upload, position: number): boolean =>
  completesByItself(upload) || (upload.dialect === 'native' && position === upload.size)

/** @throws what broke the body; payload_too_large 413 when a chunked one goes on past the end */
async function assertWhole(body: Body): Promise<void> {
  assertUnbroken(body)
  if (body.length === null && (await body.take(1)) !== null)
    throw new HttpError('payload_too_large', { detail: 'The body goes past the end of the upload.' })
  assertUnbroken(body)
}

import { HttpError } from '../core/errors.ts'
import { cellAt, cellRange } from '../core/geometry.ts'
import type { Body, Turn } from '../core/ports.ts'
import { assertNotExpired, isOpen, type Upload } from '../core/upload.ts'
import { commitCells } from './commit.ts'
import { assertUnbroken, drop, holderOf, type Deps } from './deps.ts'

export interface Append {
  id: string
  /** where the client says its bytes begin */
  offset: number
  /** the length that the request declares, for an upload whose length was deferred */
  declaredSize: number | null
  body: Body
  turn: Turn
}

export interface Appended {
  /** the request's offset plus the bytes that it brought */
  offset: number
  upload: Upload
}

/**
 * Appends a body at the committed prefix, a cell at a time, and commits as it crosses cells and at
 * its end, so that what arrived counts when the client breaks off.
 * @throws {HttpError} locked 423, offset_mismatch 409, payload_too_large 413, gone 410, not_found 404
 * @see https://tus.io/protocols/resumable-upload#patch
 */
export const appendTo =
  (deps: Deps) =>
  async (append: Append): Promise<Appended> => {
    const release = await deps.locker.acquire(append.id, 'append', holderOf(append.body), false)
    try {
      let upload = await deps.ledger.get(append.id)
      if (!upload) throw new HttpError('not_found')
      const plan = planAppend(upload, append, deps.limits.maxUploadBytes, deps.now())
      if (plan.declares !== null) upload = await declare(deps, upload, plan.declares)
      return await fill(deps, upload, append, append.offset + plan.maxBytes)
    } finally {
      release()
    }
  }

export interface AppendPlan {
  /** the most bytes that the body may bring */
  maxBytes: number
  /** the length to declare first; null when there is none, or when it is known already */
  declares: number | null
}

/**
 * Decides whether a body may be appended, and how much of it.
 * @param maxUploadBytes the longest file, which bounds one of deferred length
 * @throws {HttpError} gone 410, locked 423, offset_mismatch 409, payload_too_large 413, bad_request 400
 */
export function planAppend(
  upload: Upload,
  { offset, declaredSize, body }: { offset: number; declaredSize: number | null; body: Pick<Body, 'length'> },
  maxUploadBytes: number,
  now: Date,
): AppendPlan {
  assertNotExpired(upload, now)
  if (upload.status === 'FAILED') throw new HttpError('gone', { detail: 'The upload has failed for good.' })
  if (upload.status === 'FINALIZING') throw new HttpError('locked', { headers: { 'Retry-After': '1' } })
  if (offset !== upload.offset && !continuesBehind(upload, offset)) throw new HttpError('offset_mismatch')

  if (declaredSize !== null) {
    if (upload.size !== null && upload.size !== declaredSize)
      throw new HttpError('bad_request', { detail: 'Upload-Length was declared before, with another value.' })
    if (declaredSize < upload.offset)
      throw new HttpError('bad_request', { detail: 'Upload-Length is less than what is stored already.' })
    if (declaredSize > maxUploadBytes)
      throw new HttpError('payload_too_large', { headers: { 'Tus-Max-Size': String(maxUploadBytes) } })
  }
  const size = upload.size ?? declaredSize
  const maxBytes = (size ?? maxUploadBytes) - offset
  if (body.length !== null && body.length > maxBytes)
    throw new HttpError('payload_too_large', { detail: 'The body goes past the end of the upload.' })
  return {
    maxBytes: body.length ?? maxBytes,
    declares: upload.size === null ? declaredSize : null,
  }
}

/**
 * Whether a client goes on from where its last PATCH ended, though cells behind that are there
 * already: those bytes are read and dropped.
 */
const continuesBehind = ({ appendOffset, offset, status }: Upload, from: number): boolean =>
  appendOffset !== null &&
  from <= offset &&
  (from === appendOffset || (from > appendOffset && status === 'COMPLETED'))

async function declare(deps: Deps, upload: Upload, size: number): Promise<Upload> {
  const declared = await deps.ledger.declareSize(upload.id, size)
  const now = await deps.ledger.get(upload.id)
  if (!now) throw new HttpError('not_found')
  if (!declared && now.size !== size)
    throw new HttpError('bad_request', { detail: 'Upload-Length does not fit what is stored already.' })
  return now
}

async function fill(deps: Deps, start: Upload, { id, offset, body, turn }: Append, end: number): Promise<Appended> {
  const { ledger, locker, store, meter } = deps
  const commit = commitCells(deps)
  let upload = start
  let position = offset
  let settled = start.appendOffset ?? start.offset
  // An upload of init waits for `complete`, but a PATCH that reaches its end completes it as well.
  const fillsAt = (at: number) => upload.dialect === 'tus' || at === upload.size

  while (position < end) {
    const index = cellAt(position, upload)
    const range = cellRange(index, upload)
    const release = await locker.acquire(id, index, holderOf(body), true)
    try {
      const stored = range.start + ((await ledger.cell(id, index))?.bytes ?? 0)
      if (position > stored) throw new HttpError('offset_mismatch')
      const known = Math.min(stored, end) - position
      const dropped = await drop(body, known)
      position += dropped
      if (dropped < known) break
      if (position === range.end || position === end) continue

      const length = Math.min(range.end, end) - position
      const written = await store.writeAt({ upload, position, length, body, turn })
      const to = position + written.bytes
      if (written.bytes > 0) {
        upload = await commit(upload, {
          cells: [{ index, from: position - range.start, to: to - range.start, whole: to === range.end }],
          appendOffset: to,
          fills: fillsAt(to),
        })
        settled = to
      }
      position = to
      if (written.failure) {
        meter.chunkFailed(upload.dialect)
        throw written.failure
      }
      if (written.bytes < length) break
    } finally {
      release()
    }
  }
  // Where the last bytes were dropped, the ledger has yet to learn where the client is; and an upload
  // whose bytes are all there may have waited for this PATCH to complete it.
  const unrecorded = position !== upload.offset && position !== settled
  const unfinished = upload.offset === upload.size && fillsAt(position)
  if (isOpen(upload.status) && (unrecorded || unfinished))
    upload = await commit(upload, { cells: [], appendOffset: position, fills: fillsAt(position) })

  assertUnbroken(body)
  if (body.length === null && (await body.take(1)) !== null)
    throw new HttpError('payload_too_large', { detail: 'The body goes past the end of the upload.' })
  return { offset: position, upload }
}

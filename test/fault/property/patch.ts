import { expect } from 'vitest'
import { type Command, type Cut, leave, offsetOf, onUpload } from './command.ts'
import {
  type Cell,
  checksumHolds,
  isFull,
  MAX_UPLOAD,
  placeOf,
  prefixOf,
  settleCompletion,
  storedEnd,
  storeRange,
  type Upload,
} from './model.ts'
import { observe } from './observe.ts'
import { type ChecksumKind, expectStatus, type Patch, patchRequest } from './world.ts'

export interface PatchPlan {
  /** bytes; at most what there is room for */
  length: number | 'rest' | 'to the end of the cell'
  /** so many bytes over the end */
  over: number
  chunked: boolean
  checksum: ChecksumKind
  declares: 'nothing' | 'its end' | 'more' | 'less' | 'another'
}

/** The PATCH that a client makes that goes on at `offset`. */
export function planPatch(upload: Upload, offset: number, plan: PatchPlan): Patch {
  const size = upload.size ?? MAX_UPLOAD
  const room = size - offset
  const wanted =
    plan.length === 'rest'
      ? upload.size === null
        ? 2500
        : room
      : plan.length === 'to the end of the cell'
        ? upload.chunkSize - (offset % upload.chunkSize)
        : plan.length
  const length = plan.over > 0 ? room + plan.over : Math.min(wanted, room)
  const end = offset + length
  const declares = {
    nothing: null,
    'its end': Math.max(end, storedEnd(upload)),
    more: end + 1500,
    less: Math.max(0, end - 1),
    another: (upload.size ?? end) + 1,
  }[plan.declares]
  const file = Buffer.concat([upload.file, Buffer.alloc(plan.over, 'z')])
  const bytes = file.subarray(offset, end)
  return { id: upload.id, offset, bytes, chunked: plan.chunked, checksum: plan.checksum, declares }
}

interface Verdict {
  statuses: number[]
  /** what becomes of the bytes */
  bytes: 'stored' | 'maybe' | 'nothing'
  /** whether the length that the request declares is known from now on */
  declared: boolean
}

const refusal = (...statuses: number[]): Verdict => ({ statuses, bytes: 'nothing', declared: false })

/** Whether a PATCH at `offset` is taken while the upload stands still. */
function takesAt(upload: Upload, offset: number): 'yes' | 'maybe' | 'no' {
  const { appendEnd, maybeAppendFrom, completed } = upload
  const prefix = prefixOf(upload, 'least')
  if (offset === prefix || (offset === appendEnd && offset < prefix)) return 'yes'
  if (offset > prefix) return 'no'
  if (completed && appendEnd !== null && offset > appendEnd) return 'yes'
  return offset >= maybeAppendFrom ? 'maybe' : 'no'
}

/** What a PATCH on an upload that stands still may be answered, in the order in which the server looks. */
function judgePatch(upload: Upload, { offset, bytes, chunked, checksum, declares }: Patch): Verdict {
  if (upload.kind === 'final') return refusal(403)
  const taken = takesAt(upload, offset)
  if (taken === 'no') return refusal(409)
  const verdict = judgeTaken()
  return taken === 'yes'
    ? verdict
    : {
        ...verdict,
        statuses: [...verdict.statuses, 409],
        bytes: verdict.bytes === 'nothing' ? 'nothing' : 'maybe',
      }

  function judgeTaken(): Verdict {
    const size = upload.size ?? declares
    if (declares !== null) {
      if (upload.size !== null && upload.size !== declares) return refusal(400)
      if (declares < prefixOf(upload, 'least')) return refusal(400)
      if (declares > MAX_UPLOAD) return refusal(413)
    }
    const room = (size ?? MAX_UPLOAD) - offset
    const isChunked = chunked || checksum.endsWith('trailer')
    if (!isChunked && bytes.length > room) return refusal(413)
    if (upload.size === null && declares !== null && declares < storedEnd(upload)) return refusal(400)
    const declared = upload.size === null && declares !== null
    if (bytes.length > room)
      return { statuses: [413], bytes: checksum === 'none' ? 'maybe' : 'nothing', declared }
    if (checksum.startsWith('wrong')) return { statuses: [460], bytes: 'nothing', declared }
    return { statuses: [204], bytes: 'stored', declared }
  }
}

/** Brings the model to where an answered PATCH left the upload. */
function applyPatch(upload: Upload, patch: Patch, verdict: Verdict, status: number): void {
  const end = patch.offset + patch.bytes.length
  if (status === 409) return forgetAppendEnd(upload, patch.offset)
  if (verdict.declared) upload.size = patch.declares
  const { completed } = upload
  if (status === 204) {
    storeRange(upload, patch.offset, end, true)
    settleCompletion(upload)
    if (upload.dialect === 'native' && end === upload.size && isFull(upload)) upload.completed = true
  } else if (verdict.bytes !== 'nothing') {
    storeRange(upload, patch.offset, Math.min(end, upload.size ?? MAX_UPLOAD), false)
    upload.mayComplete = upload.dialect === 'native'
  }
  if (completed) return
  if (status !== 204) forgetAppendEnd(upload, patch.offset)
  else if (patch.bytes.length > 0) {
    upload.appendEnd = end
    upload.maybeAppendFrom = Number.POSITIVE_INFINITY
  }
}

export function forgetAppendEnd(upload: Upload, offset: number): void {
  upload.maybeAppendFrom = Math.min(upload.maybeAppendFrom, upload.appendEnd ?? offset, offset)
  upload.appendEnd = null
}

export const describePatch = ({ offset, bytes, checksum, chunked, declares }: Patch): string =>
  `PATCH at ${offset} of ${bytes.length}${chunked ? ' chunked' : ''}${checksum === 'none' ? '' : `, checksum ${checksum}`}${declares === null ? '' : `, Upload-Length ${declares}`}`

/** `from`: where HEAD tells, where the last PATCH ended, or at any other place. */
export const patch = (
  pick: number,
  plan: PatchPlan,
  from: 'HEAD' | 'last PATCH' | number,
  among = (_upload: Upload): boolean => true,
): Command =>
  onUpload(
    `PATCH ${pick} from ${from} ${JSON.stringify(plan)}`,
    pick,
    async (upload, _model, world) => {
      const racing = upload.pending.length > 0
      const told = await offsetOf(world, upload)
      const offset =
        from === 'HEAD' || racing
          ? told
          : from === 'last PATCH'
            ? (upload.appendEnd ?? told)
            : from % (told + 2)
      const wanted = planPatch(upload, offset, plan)
      const answer = await world.send(patchRequest(wanted))
      const verdict = judgePatch(upload, wanted)
      // After every byte came, the whole file may still not be what init announced.
      const end = offset + wanted.bytes.length
      const mismatch =
        upload.dialect === 'native' &&
        !upload.completed &&
        end === upload.size &&
        !couldHold(upload, wanted, verdict)
      if (racing) {
        const allowed = [...verdict.statuses, 204, 409, 413, 423]
        expectStatus(world, describePatch(wanted), answer, allowed)
        upload.mayComplete = upload.dialect === 'native'
        if (verdict.declared) upload.maybeSize = wanted.declares
        if (answer.status === 204) applyPatch(upload, wanted, { ...verdict, bytes: 'stored' }, 204)
        else if (answer.status !== 423)
          storeRange(upload, offset, Math.min(end, upload.size ?? MAX_UPLOAD), false)
        forgetAppendEnd(upload, 0)
      } else if (mismatch && verdict.statuses.includes(204)) {
        expectStatus(world, describePatch(wanted), answer, [409])
        storeRange(upload, offset, end, takesAt(upload, offset) === 'yes')
        forgetAppendEnd(upload, offset)
      } else {
        expectStatus(world, describePatch(wanted), answer, verdict.statuses)
        applyPatch(upload, wanted, verdict, answer.status)
      }
      if (answer.status === 204)
        expect(answer.offset, 'a PATCH answers its offset and the bytes it took').toBe(end)
      await observe(upload, world)
    },
    { meetsOthers: true, among },
  )

export const isDeferred = ({ size }: Upload): boolean => size === null

/** Whether the announced SHA-256 holds once these bytes are stored too. */
function couldHold(upload: Upload, { offset, bytes }: Patch, verdict: Verdict): boolean {
  if (verdict.bytes !== 'stored' || upload.announced === null) return true
  const after: Upload = { ...upload, cells: new Map(upload.cells), stored: Buffer.from(upload.stored) }
  storeRange(after, offset, offset + bytes.length, true)
  return !isFull(after) || checksumHolds(after)
}

export const patchAndBreak = (pick: number, plan: PatchPlan, cut: Cut): Command =>
  onUpload(
    `PATCH ${pick} and break off ${JSON.stringify(plan)} ${JSON.stringify(cut)}`,
    pick,
    async (upload, _model, world) => {
      const offset = await offsetOf(world, upload)
      const wanted = planPatch(upload, offset, { ...plan, over: 0 })
      const request = patchRequest(wanted)
      const after = Math.floor(cut.at * wanted.bytes.length)
      const whole = after === wanted.bytes.length && !request.chunked
      const verdict = judgePatch(upload, wanted)
      const counts =
        verdict.bytes !== 'nothing' && (wanted.checksum === 'none' || (wanted.checksum === 'right' && whole))
      const before = new Map(upload.cells)

      const requestId = await world.breakOff(request, {
        after,
        dwellMs: cut.dwellMs,
        kill: cut.next === 'kill',
      })
      world.trace.push(`  ${describePatch(wanted)} broken off after ${after}, then ${cut.next}`)
      if (verdict.declared) upload.maybeSize = wanted.declares
      if (counts) {
        storeRange(upload, offset, offset + after, false)
        upload.mayComplete = upload.dialect === 'native' && offset + after === upload.size
      }
      forgetAppendEnd(upload, offset)
      await leave(upload, world, requestId, cut)
      if (cut.next !== 'go on') forgetBehind(upload, before)
    },
  )

/** A PATCH fills cells in order: behind the one that it ended in, nothing can have come. */
function forgetBehind(upload: Upload, before: ReadonlyMap<number, Cell>): void {
  const offset = prefixOf(upload, 'least')
  for (const [index, cell] of upload.cells)
    if (placeOf(upload, index).start > offset)
      cell.most = Math.max(cell.least, Math.min(cell.most, before.get(index)?.most ?? 0))
}

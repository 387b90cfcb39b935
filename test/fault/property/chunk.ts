import { sha256 } from '../../support/bytes.ts'
import { type Command, type Cut, leave, onUpload } from './command.ts'
import {
  cellOf,
  CHUNK,
  countOf,
  freeCell,
  isFull,
  MAX_UPLOAD,
  otherBytes,
  placeOf,
  settleCompletion,
  storeCell,
  storeRange,
  type Upload,
} from './model.ts'
import { type BodyRequest, expectStatus } from './world.ts'

export interface ChunkPlan {
  index: number
  /** what it brings */
  bytes: 'the file' | 'others'
  length: 'right' | 'short' | 'long' | 'none'
  chunked: boolean
  sha256: 'none' | 'right' | 'wrong'
}

interface Chunk {
  index: number
  request: BodyRequest
  wrongSha: boolean
}

/** Cells that an upload of a deferred length is played with, and the first one that no upload may have. */
export const DEFERRED_CELLS = 5
const BEHIND_ALL = MAX_UPLOAD / CHUNK

/** Any of the cells, or the place behind the last one. */
function indexIn(upload: Upload, at: number): number {
  const count = countOf(upload)
  if (count !== null) return at % (count + 1)
  const index = at % (DEFERRED_CELLS + 1)
  return index === DEFERRED_CELLS ? BEHIND_ALL : index
}

export function planChunk(upload: Upload, plan: ChunkPlan): Chunk {
  const index = indexIn(upload, plan.index)
  const place = placeOf(upload, index)
  // Behind the end there is no right length.
  const right = Math.max(1, place.length)
  const length = { right, short: right - 1, long: right + 1, none: 0 }[plan.length]
  const source = Buffer.concat([upload.file, upload.file, upload.file])
  // Where bytes of the file may be stored or not, others would make it a guess what is there after.
  const unsure = cellOf(upload, index).least !== cellOf(upload, index).most || upload.pending.length > 0
  const piece = source.subarray(place.start, place.start + length)
  const bytes = plan.bytes === 'others' && !unsure ? otherBytes(piece) : piece
  const told =
    plan.sha256 === 'none'
      ? {}
      : { 'X-Chunk-SHA256': sha256(plan.sha256 === 'right' ? bytes : Buffer.from('?')) }
  return {
    index,
    wrongSha: plan.sha256 === 'wrong',
    request: {
      method: 'PUT',
      path: `/v1/uploads/${upload.id}/chunks/${index}`,
      headers: told,
      bytes,
      chunked: plan.chunked,
    },
  }
}

/** What a chunk on an upload that stands still is answered. */
function judgeChunk(upload: Upload, { index, request: { bytes, chunked }, wrongSha }: Chunk): number {
  if (upload.completed) return 409
  if (index >= (countOf(upload) ?? BEHIND_ALL)) return 400
  const { start, length } = placeOf(upload, index)
  const wrongLength = bytes.length < length ? 400 : bytes.length > length ? 413 : null
  if (wrongLength !== null && (!chunked || bytes.length === 0)) return wrongLength
  const { least } = cellOf(upload, index)
  const compared = Math.min(bytes.length, least)
  if (!bytes.subarray(0, compared).equals(upload.stored.subarray(start, start + compared))) return 409
  return wrongLength ?? (wrongSha ? 400 : 202)
}

export const describeChunk = ({ index, request: { bytes, chunked } }: Chunk): string =>
  `PUT chunk ${index} of ${bytes.length}${chunked ? ' chunked' : ''}`

export const putChunk = (pick: number, plan: ChunkPlan): Command =>
  onUpload(
    `PUT ${pick} ${JSON.stringify(plan)}`,
    pick,
    async (upload, _model, world) => {
      const racing = upload.pending.length > 0
      const chunk = planChunk(upload, plan)
      const answer = await world.send(chunk.request)
      const status = judgeChunk(upload, chunk)
      expectStatus(
        world,
        describeChunk(chunk),
        answer,
        racing && isFull(upload, 'most') ? [status, 409] : [status],
      )
      if (answer.status === 202) {
        storeCell(upload, chunk.index, chunk.request.bytes)
        settleCompletion(upload)
      }
    },
    { meetsOthers: true },
  )

export const putAndBreak = (pick: number, plan: ChunkPlan, cut: Cut): Command =>
  onUpload(
    `PUT ${pick} and break off ${JSON.stringify(plan)} ${JSON.stringify(cut)}`,
    pick,
    async (upload, _model, world) => {
      const chunk = planChunk(upload, {
        ...plan,
        length: 'right',
        bytes: cut.at < 1 ? plan.bytes : 'the file',
      })
      const { request } = chunk
      const after = Math.floor(cut.at * request.bytes.length)
      const counts = after === request.bytes.length && !request.chunked && judgeChunk(upload, chunk) === 202
      const requestId = await world.breakOff(request, {
        after,
        dwellMs: cut.dwellMs,
        kill: cut.next === 'kill',
      })
      world.trace.push(`  ${describeChunk(chunk)} broken off after ${after}, then ${cut.next}`)
      if (counts) {
        const { start, end } = placeOf(upload, chunk.index)
        storeRange(upload, start, end, false)
      }
      await leave(upload, world, requestId, cut)
      // All of the cell, or nothing more than before.
    },
  )

export const free = (pick: number, at: number): Command =>
  onUpload(
    `free ${pick} chunk ${at}`,
    pick,
    async (upload, _model, world) => {
      const count = countOf(upload)
      const index = indexIn(upload, at)
      const racing = upload.pending.length > 0
      const answer = await world.call('DELETE', `/v1/uploads/${upload.id}/chunks/${index}`)
      const status = upload.completed ? 409 : count !== null && index >= count ? 400 : 204
      expectStatus(
        world,
        `free chunk ${index}`,
        answer,
        racing && isFull(upload, 'most') ? [status, 409] : [status],
      )
      if (answer.status !== 204) return
      const { most } = cellOf(upload, index)
      freeCell(upload, index)
      if (racing) upload.cells.set(index, { least: 0, most })
    },
    { meetsOthers: true },
  )

import { expect } from 'vitest'
import * as fc from 'fast-check'
import { sha256 } from '../support/bytes.ts'
import { TUS } from '../support/client.ts'
import {
  addUpload,
  cellOf,
  cellsBetween,
  checksumHolds,
  CHUNK,
  completesByItself,
  contentOf,
  countOf,
  dropUpload,
  fileOf,
  freeCell,
  isFull,
  isWhole,
  MAX_UPLOAD,
  otherBytes,
  placeOf,
  prefixOf,
  settleCompletion,
  storeCell,
  storedEnd,
  storeRange,
  type Cell,
  type Model,
  type Upload,
} from './model.ts'
import { observe, observeAll, settle } from './observe.ts'
import {
  checksumOf,
  expectStatus,
  headOf,
  patchRequest,
  type BodyRequest,
  type ChecksumKind,
  type Patch,
  type Told,
  type World,
} from './world.ts'

type Command = fc.AsyncCommand<Model, World>

const MOST_UPLOADS = 4

/** A command that runs where it can, and after which every upload is looked at. */
const command = (
  what: string,
  can: (model: Model) => boolean,
  run: (model: Model, world: World) => Promise<void>,
): Command => ({
  check: can,
  async run(model, world) {
    world.trace.push(what)
    await run(model, world)
    await observeAll(model, world)
  },
  toString: () => what,
})

/** A command on one of the uploads that are there. It stands still unless the command may meet a request at work. */
const onUpload = (
  what: string,
  pick: number,
  run: (upload: Upload, model: Model, world: World) => Promise<void>,
  { meetsOthers = false } = {},
): Command =>
  command(
    what,
    ({ uploads }) => uploads.length > 0,
    async (model, world) => {
      const upload = model.uploads[pick % model.uploads.length] as Upload
      world.trace.push(`  on ${upload.name} ${upload.id}`)
      if (!meetsOthers || upload.maybeSize !== null) await settle(upload, world)
      const pending = upload.pending.length > 0
      await run(upload, model, world)
      if (pending) await settle(upload, world)
    },
  )

// ---- creation

interface Creation {
  size: number
  deferred: boolean
  partial: boolean
  /** bytes that come along; null for none */
  first: number | null
  chunked: boolean
  checksum: ChecksumKind
}

const canCreate = (model: Model): boolean => model.uploads.length < MOST_UPLOADS

function creationRequest({ size, deferred, partial, chunked, checksum }: Creation, bytes: Buffer | null): BodyRequest {
  const told = bytes === null ? { headers: {} } : checksumOf(bytes, checksum)
  return {
    method: 'POST',
    path: '/files',
    headers: {
      ...TUS,
      ...(deferred ? { 'Upload-Defer-Length': '1' } : { 'Upload-Length': String(size) }),
      ...(partial && { 'Upload-Concat': 'partial' }),
      ...(bytes !== null && { 'Content-Type': 'application/offset+octet-stream' }),
      ...told.headers,
    },
    bytes: bytes ?? Buffer.alloc(0),
    chunked: bytes !== null && (chunked || 'trailers' in told),
    ...('trailers' in told && { trailers: told.trailers }),
  }
}

const createByTus = (creation: Creation): Command =>
  command(`create by tus ${JSON.stringify(creation)}`, canCreate, async (model, world) => {
    const { size, deferred, partial, first, checksum } = creation
    const bytes = first === null ? null : fileOf(model.made).subarray(0, first)
    const request = creationRequest(creation, bytes)
    const answer = await world.send(request)
    const room = deferred ? MAX_UPLOAD : size
    const over = first !== null && first > room
    const takes = first !== null && (first > 0 || request.chunked)
    const refused = takes && over && !request.chunked ? 413 : takes && checksum.startsWith('wrong') && !over ? 460 : null
    expectStatus(world, 'POST', answer, [refused ?? 201])
    if (refused !== null) return
    const upload = addUpload(model, {
      id: idOf(answer),
      dialect: 'tus',
      kind: partial ? 'partial' : 'plain',
      chunkSize: CHUNK,
      size: deferred ? null : size,
    })
    if (!takes || first === null) return
    if (over && checksum === 'none') storeRange(upload, 0, room, false)
    else if (!over) {
      expect(answer.offset, 'Upload-Offset').toBe(first)
      storeRange(upload, 0, first, true)
    }
    settleCompletion(upload)
  })

const idOf = (answer: Told): string => String(answer.headers['location']).split('/').at(-1) ?? ''

/** A creation whose body is cut, or whose answer is lost: the client learns no Location, but may find it in its list. */
const createAndBreak = (creation: Creation, cut: Cut): Command =>
  command(`create by tus and break off ${JSON.stringify(creation)} ${JSON.stringify(cut)}`, canCreate, async (model, world) => {
    const { size, deferred, partial, checksum } = creation
    const bytes = fileOf(model.made).subarray(0, Math.min(creation.first ?? 0, deferred ? MAX_UPLOAD : size))
    const request = creationRequest(creation, bytes)
    const after = Math.floor(cut.at * bytes.length)
    const requestId = await world.breakOff(request, { after, dwellMs: cut.dwellMs, kill: cut.then === 'kill' })
    if (cut.then !== 'kill') await world.isOver(requestId)
    const known = new Set(model.uploads.map(({ id }) => id))
    const strays = (await listOf(world)).filter((id) => !known.has(id))
    world.trace.push(`  ${strays.length} created, ${after} of ${bytes.length} bytes sent`)
    expect(strays.length).toBeLessThanOrEqual(1)
    const [id] = strays
    if (id === undefined) return
    const kind = partial ? 'partial' : 'plain'
    const upload = addUpload(model, { id, dialect: 'tus', kind, chunkSize: CHUNK, size: deferred ? null : size })
    const whole = after === bytes.length && !request.chunked
    if (checksum === 'none' || (checksum === 'right' && whole)) storeRange(upload, 0, after, false)
  })

const listOf = async (world: World): Promise<string[]> =>
  (await world.call('GET', '/v1/uploads?limit=1000')).json.uploads.map((shown: { upload_id: string }) => shown.upload_id)

interface Init {
  size: number
  chunkSize: number | null
  checksum: 'none' | 'right' | 'wrong'
}

const createByInit = (init: Init): Command =>
  command(`init ${JSON.stringify(init)}`, canCreate, async (model, world) => {
    const file = fileOf(model.made)
    const announced =
      init.checksum === 'none'
        ? null
        : sha256(init.checksum === 'right' ? file.subarray(0, init.size) : Buffer.from('something else'))
    const body = {
      file_name: 'a',
      file_size: init.size,
      ...(init.chunkSize !== null && { chunk_size: init.chunkSize }),
      ...(announced !== null && { file_checksum_sha256: announced }),
    }
    const answer = await world.call('POST', '/v1/uploads/init', { body })
    expectStatus(world, 'init', answer, [201])
    const { upload_id: id, chunk_size: chunkSize } = answer.json
    expect(chunkSize).toBe(init.chunkSize ?? CHUNK)
    addUpload(model, { id, dialect: 'native', kind: 'plain', chunkSize, size: init.size, announced })
  })

// ---- PATCH

interface PatchPlan {
  /** bytes; at most what there is room for */
  length: number | 'rest' | 'to the end of the cell'
  /** so many bytes over the end */
  over: number
  chunked: boolean
  checksum: ChecksumKind
  declares: 'nothing' | 'its end' | 'more' | 'less' | 'another'
}

/** The PATCH that a client makes that goes on at `offset`. */
function planPatch(upload: Upload, offset: number, plan: PatchPlan): Patch {
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
  return taken === 'yes' ? verdict : { ...verdict, statuses: [...verdict.statuses, 409], bytes: verdict.bytes === 'nothing' ? 'nothing' : 'maybe' }

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
    if (bytes.length > room) return { statuses: [413], bytes: checksum === 'none' ? 'maybe' : 'nothing', declared }
    if (checksum.startsWith('wrong')) return { statuses: [460], bytes: 'nothing', declared }
    return { statuses: [204], bytes: 'stored', declared }
  }
}

/** Brings the model to where an answered PATCH left the upload. */
function applyPatch(upload: Upload, patch: Patch, verdict: Verdict, status: number): void {
  const end = patch.offset + patch.bytes.length
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

function forgetAppendEnd(upload: Upload, offset: number): void {
  upload.maybeAppendFrom = Math.min(upload.maybeAppendFrom, upload.appendEnd ?? offset, offset)
  upload.appendEnd = null
}

const offsetOf = async (world: World, upload: Upload): Promise<number> =>
  Number((await headOf(world, upload.id)).headers.get('upload-offset'))

const describePatch = ({ offset, bytes, checksum, chunked, declares }: Patch): string =>
  `PATCH at ${offset} of ${bytes.length}${chunked ? ' chunked' : ''}${checksum === 'none' ? '' : `, checksum ${checksum}`}${declares === null ? '' : `, Upload-Length ${declares}`}`

/** `from`: where HEAD tells, where the last PATCH ended, or at any other place. */
const patch = (pick: number, plan: PatchPlan, from: 'HEAD' | 'last PATCH' | number): Command =>
  onUpload(
    `PATCH ${pick} from ${from} ${JSON.stringify(plan)}`,
    pick,
    async (upload, _model, world) => {
      const racing = upload.pending.length > 0
      const told = await offsetOf(world, upload)
      const offset = from === 'HEAD' || racing ? told : from === 'last PATCH' ? (upload.appendEnd ?? told) : from % (told + 2)
      const wanted = planPatch(upload, offset, plan)
      const answer = await world.send(patchRequest(wanted))
      const verdict = judgePatch(upload, wanted)
      // After every byte came, the whole file may still not be what init announced.
      const end = offset + wanted.bytes.length
      const mismatch =
        upload.dialect === 'native' && !upload.completed && end === upload.size && !couldHold(upload, wanted, verdict)
      if (racing) {
        const allowed = [...verdict.statuses, 204, 409, 413, 423]
        expectStatus(world, describePatch(wanted), answer, allowed)
        upload.mayComplete = upload.dialect === 'native'
        if (answer.status === 204) applyPatch(upload, wanted, { ...verdict, bytes: 'stored' }, 204)
        else if (answer.status !== 423) storeRange(upload, offset, Math.min(end, upload.size ?? MAX_UPLOAD), false)
        forgetAppendEnd(upload, 0)
      } else if (mismatch && verdict.statuses.includes(204)) {
        expectStatus(world, describePatch(wanted), answer, [409])
        storeRange(upload, offset, end, takesAt(upload, offset) === 'yes')
        forgetAppendEnd(upload, offset)
      } else {
        expectStatus(world, describePatch(wanted), answer, verdict.statuses)
        applyPatch(upload, wanted, verdict, answer.status)
      }
      if (answer.status === 204) expect(answer.offset, 'a PATCH answers its offset and the bytes it took').toBe(end)
      await observe(upload, world)
    },
    { meetsOthers: true },
  )

/** Whether the announced SHA-256 holds once these bytes are stored too. */
function couldHold(upload: Upload, { offset, bytes }: Patch, verdict: Verdict): boolean {
  if (verdict.bytes !== 'stored' || upload.announced === null) return true
  const after: Upload = { ...upload, cells: new Map(upload.cells), stored: Buffer.from(upload.stored) }
  storeRange(after, offset, offset + bytes.length, true)
  return !isFull(after) || checksumHolds(after)
}

interface Cut {
  /** the share of the body that is sent; with all of a body that has a length, only the answer is lost */
  at: number
  dwellMs: number
  then: 'settle' | 'go on' | 'kill'
}

const patchAndBreak = (pick: number, plan: PatchPlan, cut: Cut): Command =>
  onUpload(`PATCH ${pick} and break off ${JSON.stringify(plan)} ${JSON.stringify(cut)}`, pick, async (upload, _model, world) => {
    const offset = await offsetOf(world, upload)
    const wanted = planPatch(upload, offset, { ...plan, over: 0 })
    const request = patchRequest(wanted)
    const after = Math.floor(cut.at * wanted.bytes.length)
    const whole = after === wanted.bytes.length && !request.chunked
    const verdict = judgePatch(upload, wanted)
    const counts = verdict.bytes !== 'nothing' && (wanted.checksum === 'none' || (wanted.checksum === 'right' && whole))
    const before = new Map(upload.cells)

    const requestId = await world.breakOff(request, { after, dwellMs: cut.dwellMs, kill: cut.then === 'kill' })
    world.trace.push(`  ${describePatch(wanted)} broken off after ${after}, then ${cut.then}`)
    if (verdict.declared) upload.maybeSize = wanted.declares
    if (counts) {
      storeRange(upload, offset, offset + after, false)
      upload.mayComplete = upload.dialect === 'native' && offset + after === upload.size
    }
    forgetAppendEnd(upload, offset)
    await leave(upload, world, requestId, cut)
    if (cut.then !== 'go on') forgetBehind(upload, before)
  })

/** Goes on after a request was broken off. */
async function leave(upload: Upload, world: World, requestId: string, { then }: Cut): Promise<void> {
  if (then !== 'kill') upload.pending.push(requestId)
  if (then === 'settle') await settle(upload, world)
  if (then === 'kill') await observe(upload, world)
}

/** A PATCH fills cells in order: behind the one that it ended in, nothing can have come. */
function forgetBehind(upload: Upload, before: ReadonlyMap<number, Cell>): void {
  const offset = prefixOf(upload, 'least')
  for (const [index, cell] of upload.cells)
    if (placeOf(upload, index).start > offset)
      cell.most = Math.max(cell.least, Math.min(cell.most, before.get(index)?.most ?? 0))
}

// ---- chunks

interface ChunkPlan {
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

/** Cells that an upload of a deferred length is played with. */
const DEFERRED_CELLS = 5

function planChunk(upload: Upload, plan: ChunkPlan): Chunk {
  const index = plan.index % ((countOf(upload) ?? DEFERRED_CELLS) + 1)
  const place = placeOf(upload, index)
  // Behind the end there is no right length.
  const right = Math.max(1, place.length)
  const length = { right, short: right - 1, long: right + 1, none: 0 }[plan.length]
  const source = Buffer.concat([upload.file, upload.file])
  // Where bytes of the file may be stored or not, others would make it a guess what is there after.
  const unsure = cellOf(upload, index).least !== cellOf(upload, index).most || upload.pending.length > 0
  const piece = source.subarray(place.start, place.start + length)
  const bytes = plan.bytes === 'others' && !unsure ? otherBytes(piece) : piece
  const told = plan.sha256 === 'none' ? {} : { 'X-Chunk-SHA256': sha256(plan.sha256 === 'right' ? bytes : Buffer.from('?')) }
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
  const count = countOf(upload)
  if (count !== null && index >= count) return 400
  const { start, length } = placeOf(upload, index)
  const wrongLength = bytes.length < length ? 400 : bytes.length > length ? 413 : null
  if (wrongLength !== null && (!chunked || bytes.length === 0)) return wrongLength
  const { least } = cellOf(upload, index)
  const compared = Math.min(bytes.length, least)
  if (!bytes.subarray(0, compared).equals(upload.stored.subarray(start, start + compared))) return 409
  return wrongLength ?? (wrongSha ? 400 : 202)
}

const describeChunk = ({ index, request: { bytes, chunked } }: Chunk): string =>
  `PUT chunk ${index} of ${bytes.length}${chunked ? ' chunked' : ''}`

const putChunk = (pick: number, plan: ChunkPlan): Command =>
  onUpload(
    `PUT ${pick} ${JSON.stringify(plan)}`,
    pick,
    async (upload, _model, world) => {
      const racing = upload.pending.length > 0
      const chunk = planChunk(upload, plan)
      const answer = await world.send(chunk.request)
      const status = judgeChunk(upload, chunk)
      expectStatus(world, describeChunk(chunk), answer, racing && isFull(upload, 'most') ? [status, 409] : [status])
      if (answer.status === 202) {
        storeCell(upload, chunk.index, chunk.request.bytes)
        settleCompletion(upload)
      }
    },
    { meetsOthers: true },
  )

const putAndBreak = (pick: number, plan: ChunkPlan, cut: Cut): Command =>
  onUpload(`PUT ${pick} and break off ${JSON.stringify(plan)} ${JSON.stringify(cut)}`, pick, async (upload, _model, world) => {
    const chunk = planChunk(upload, { ...plan, length: 'right', bytes: cut.at < 1 ? plan.bytes : 'the file' })
    const { request } = chunk
    const after = Math.floor(cut.at * request.bytes.length)
    const counts = after === request.bytes.length && !request.chunked && judgeChunk(upload, chunk) === 202
    const requestId = await world.breakOff(request, { after, dwellMs: cut.dwellMs, kill: cut.then === 'kill' })
    world.trace.push(`  ${describeChunk(chunk)} broken off after ${after}, then ${cut.then}`)
    if (counts) {
      const { start, end } = placeOf(upload, chunk.index)
      storeRange(upload, start, end, false)
    }
    await leave(upload, world, requestId, cut)
    // All of the cell, or nothing more than before.
  })

const free = (pick: number, at: number): Command =>
  onUpload(
    `free ${pick} chunk ${at}`,
    pick,
    async (upload, _model, world) => {
      const count = countOf(upload)
      const index = at % ((count ?? DEFERRED_CELLS) + 1)
      const racing = upload.pending.length > 0
      const answer = await world.call('DELETE', `/v1/uploads/${upload.id}/chunks/${index}`)
      const status = upload.completed ? 409 : count !== null && index >= count ? 400 : 204
      expectStatus(world, `free chunk ${index}`, answer, racing && isFull(upload, 'most') ? [status, 409] : [status])
      if (answer.status !== 204) return
      const { most } = cellOf(upload, index)
      freeCell(upload, index)
      if (racing) upload.cells.set(index, { least: 0, most })
    },
    { meetsOthers: true },
  )

// ---- whole uploads

const completeStatus = (upload: Upload): number => {
  if (upload.completed) return 200
  return upload.kind === 'plain' && isFull(upload) && checksumHolds(upload) ? 200 : 409
}

/** An empty upload of init whose completion fails is not INITIATED any more. */
function noteCompletion(upload: Upload, status: number): void {
  if (status === 200) upload.completed = true
  else upload.begun ||= isFull(upload)
}

const complete = (pick: number, kill: number | null): Command =>
  onUpload(`complete ${pick}${kill === null ? '' : ` and kill after ${kill} ms`}`, pick, async (upload, _model, world) => {
    const request: BodyRequest = {
      method: 'POST',
      path: `/v1/uploads/${upload.id}/complete`,
      headers: {},
      bytes: Buffer.alloc(0),
      chunked: false,
    }
    if (kill !== null) {
      upload.mayComplete = completeStatus(upload) === 200
      upload.begun ||= isFull(upload)
      await world.breakOff(request, { after: 0, dwellMs: kill, kill: true })
      return
    }
    const answer = await world.send(request)
    const status = completeStatus(upload)
    expectStatus(world, 'complete', answer, [status])
    noteCompletion(upload, status)
  })

const remove = (pick: number, by: 'tus' | 'native'): Command =>
  onUpload(`delete ${pick} by ${by}`, pick, async (upload, model, world) => {
    await removeUpload(upload, model, world, by)
  })

async function removeUpload(upload: Upload, model: Model, world: World, by: 'tus' | 'native'): Promise<void> {
  const where = by === 'tus' ? `/files/${upload.id}` : `/v1/uploads/${upload.id}`
  expectStatus(world, 'DELETE', await world.call('DELETE', where, { headers: TUS }), [204])
  dropUpload(model, upload)
  expect((await world.call('HEAD', `/files/${upload.id}`, { headers: TUS })).status).toBe(404)
  expect((await world.call('GET', `/v1/uploads/${upload.id}/missing-chunks`)).status).toBe(404)
  expect((await world.files()).filter((file) => file.includes(upload.id))).toEqual([])
}

const concatenate = (picks: number[], kill: number | null): Command =>
  command(
    `concatenate ${picks.join(', ')}${kill === null ? '' : ` and kill after ${kill} ms`}`,
    (model) => model.uploads.length > 0 && canCreate(model),
    async (model, world) => {
      const partials = model.uploads.filter(({ kind }) => kind === 'partial')
      const among = partials.length > 0 && picks[0] !== 7 ? partials : model.uploads
      const parts = picks.map((pick) => among[pick % among.length] as Upload)
      for (const part of parts) await settle(part, world)
      await concatenateParts(parts, model, world, kill)
    },
  )

async function concatenateParts(parts: Upload[], model: Model, world: World, kill: number | null): Promise<Upload | null> {
  const key = parts.map(({ id }) => id).join(' ')
  const request: BodyRequest = {
    method: 'POST',
    path: '/files',
    headers: { ...TUS, 'Upload-Concat': `final;${parts.map(({ id }) => `/files/${id}`).join(' ')}` },
    bytes: Buffer.alloc(0),
    chunked: false,
  }
  const known = model.finals.get(key)
  const size = parts.reduce((sum, part) => sum + (part.size ?? 0), 0)
  const usable = parts.every((part) => part.kind === 'partial' && isFull(part))
  const status = known || (usable && size <= MAX_UPLOAD) ? 201 : usable ? 413 : 400
  if (kill !== null) await world.breakOff(request, { after: 0, dwellMs: kill, kill: true })
  const answer = await world.send(request)
  expectStatus(world, `concatenate ${parts.map(({ name }) => name).join(' ')}`, answer, [status])
  if (status !== 201) return null
  const id = idOf(answer)
  if (known) {
    expect(id, 'the same list gives the same upload').toBe(known.id)
    return known
  }
  const stored = Buffer.concat(parts.map(contentOf))
  const final = addUpload(model, { id, dialect: 'tus', kind: 'final', chunkSize: CHUNK, size, stored })
  model.finals.set(key, final)
  return final
}

const download = (pick: number, first: number, bytes: number): Command =>
  onUpload(`download ${pick} from ${first} to ${first + bytes}`, pick, async (upload, _model, world) => {
    const Range = `bytes=${first}-${first + bytes}`
    const answer = await world.call('GET', `/files/${upload.id}`, { headers: { Range } })
    const size = upload.size ?? 0
    const status = !upload.completed ? 409 : first < size ? 206 : 416
    expectStatus(world, `download ${Range}`, answer, [status])
    if (status === 206)
      expect(answer.headers.get('content-range')).toBe(`bytes ${first}-${Math.min(first + bytes, size - 1)}/${size}`)
  })

const restart = (): Command =>
  command(
    'kill -9',
    () => true,
    async (model, world) => {
      await world.restart()
      for (const upload of model.uploads) upload.pending.splice(0)
    },
  )

// ---- at once

interface Crowd {
  patches: PatchPlan[]
  chunks: number[]
  frees: number[]
}

/** Requests on one upload at the same time, all with the file's bytes: any order of them is right. */
const crowd = (pick: number, { patches, chunks, frees }: Crowd): Command =>
  onUpload(`at once on ${pick} ${JSON.stringify({ patches, chunks, frees })}`, pick, async (upload, _model, world) => {
    if (upload.kind === 'final') return
    const offset = await offsetOf(world, upload)
    const count = countOf(upload) ?? DEFERRED_CELLS
    if (count === 0) return
    const wanted = patches.map((plan) => planPatch(upload, offset, { ...plan, over: 0, declares: 'nothing' }))
    const puts = [...new Set(chunks.map((at) => at % count))].map((index) =>
      planChunk(upload, { index, bytes: 'the file', length: 'right', chunked: false, sha256: 'none' }),
    )
    const freed = [...new Set(frees.map((at) => at % count))]
    const [patched, put, released] = await Promise.all([
      Promise.all(wanted.map((one) => world.send(patchRequest(one)))),
      Promise.all(puts.map((chunk) => world.send(chunk.request))),
      Promise.all(freed.map((index) => world.call('DELETE', `/v1/uploads/${upload.id}/chunks/${index}`))),
    ])

    // Freed cells may have been sent before or after; the others keep what was acknowledged.
    const touched = new Set(freed)
    const was = upload.completed
    freed.forEach((index, i) => {
      const answer = released[i] as { status: number; text: string }
      expectStatus(world, `at once: free chunk ${index}`, answer, [204, 409])
      if (answer.status !== 204) return
      const { most } = cellOf(upload, index)
      freeCell(upload, index)
      upload.cells.set(index, { least: 0, most })
    })
    puts.forEach((chunk, i) => {
      const answer = put[i] as Told
      expectStatus(world, `at once: ${describeChunk(chunk)}`, answer, [202, 409])
      const { start, end } = placeOf(upload, chunk.index)
      if (answer.status === 202) storeRange(upload, start, end, !touched.has(chunk.index))
    })
    wanted.forEach((one, i) => {
      const answer = patched[i] as Told
      expectStatus(world, `at once: ${describePatch(one)}`, answer, [204, 409, 423, ...(one.checksum.startsWith('wrong') ? [460] : [])])
      const end = one.offset + one.bytes.length
      if (answer.status === 204) expect(answer.offset).toBe(end)
      const sent = answer.status === 460 || answer.status === 423 ? one.offset : end
      for (const index of cellsBetween(upload, one.offset, sent)) {
        const { start, end: cellEnd } = placeOf(upload, index)
        const [from, to] = [Math.max(start, one.offset), Math.min(cellEnd, sent)]
        storeRange(upload, from, to, answer.status === 204 && !touched.has(index))
      }
    })
    upload.mayComplete = !was && upload.dialect === 'native'
    forgetAppendEnd(upload, 0)
    settleCompletion(upload)
  })

// ---- what is tried

const size = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 6000 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 1, 999, 1000, 1001, 2000, 3000) },
)
const pick = fc.nat(11)
const often = <T>(usual: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...others) })

const checksum = often<ChecksumKind>('none', 'right', 'wrong', 'right trailer', 'wrong trailer')
const length = fc.oneof<fc.Arbitrary<PatchPlan['length']>[]>(
  fc.integer({ min: 0, max: 3000 }),
  fc.constantFrom(0, 1, 999, 1000, 1001),
  fc.constantFrom('rest', 'to the end of the cell'),
)
const chunked = often(false, true)
const declares = often<PatchPlan['declares']>('nothing', 'its end', 'more', 'less', 'another')
const patchPlan = fc.record({ length, over: fc.constant(0), chunked, checksum, declares })
const cut = fc.record<Cut>({
  at: fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constant(1)),
  dwellMs: fc.constantFrom(0, 2, 5, 20),
  then: fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom('settle' as const, 'go on' as const) },
    { weight: 1, arbitrary: fc.constant('kill' as const) },
  ),
})
const creation = fc.record<Creation>({
  size,
  deferred: often(false, true),
  partial: often(false, true),
  first: fc.option(size),
  chunked,
  checksum,
})
const chunkPlan = fc.record<ChunkPlan>({
  index: fc.nat(9),
  bytes: often<ChunkPlan['bytes']>('the file', 'others'),
  length: often<ChunkPlan['length']>('right', 'short', 'long', 'none'),
  chunked,
  sha256: often<ChunkPlan['sha256']>('none', 'right', 'wrong'),
})
const killAfter = fc.oneof(
  { weight: 6, arbitrary: fc.constant(null) },
  { weight: 1, arbitrary: fc.constantFrom(0, 2, 5) },
)

/** Any sequence of what clients, networks and operators do. */
export const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 5, arbitrary: creation.map(createByTus) },
  { weight: 1, arbitrary: fc.tuple(creation, cut).map(([what, where]) => createAndBreak(what, where)) },
  {
    weight: 3,
    arbitrary: fc
      .record<Init>({
        size,
        chunkSize: fc.option(fc.constantFrom(100, 512, 1000, 1001, 2500, 7000)),
        checksum: often<Init['checksum']>('none', 'right', 'wrong'),
      })
      .map(createByInit),
  },
  { weight: 8, arbitrary: fc.tuple(pick, patchPlan).map(([at, plan]) => patch(at, plan, 'HEAD')) },
  { weight: 2, arbitrary: fc.tuple(pick, patchPlan).map(([at, plan]) => patch(at, plan, 'last PATCH')) },
  { weight: 1, arbitrary: fc.tuple(pick, patchPlan, fc.nat(MAX_UPLOAD)).map(([at, plan, from]) => patch(at, plan, from)) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(pick, patchPlan, fc.constantFrom(1, 100, 1500))
      .map(([at, plan, over]) => patch(at, { ...plan, over }, 'HEAD')),
  },
  { weight: 5, arbitrary: fc.tuple(pick, patchPlan, cut).map(([at, plan, where]) => patchAndBreak(at, plan, where)) },
  { weight: 7, arbitrary: fc.tuple(pick, chunkPlan).map(([at, plan]) => putChunk(at, plan)) },
  { weight: 3, arbitrary: fc.tuple(pick, chunkPlan, cut).map(([at, plan, where]) => putAndBreak(at, plan, where)) },
  { weight: 3, arbitrary: fc.tuple(pick, fc.nat(9)).map(([at, index]) => free(at, index)) },
  { weight: 2, arbitrary: fc.tuple(pick, killAfter).map(([at, kill]) => complete(at, kill)) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.array(fc.nat(7), { minLength: 1, maxLength: 3 }), killAfter)
      .map(([picks, kill]) => concatenate(picks, kill)),
  },
  { weight: 1, arbitrary: fc.tuple(pick, fc.constantFrom('tus' as const, 'native' as const)).map(([at, by]) => remove(at, by)) },
  { weight: 1, arbitrary: fc.tuple(pick, size, fc.nat(3000)).map(([at, first, bytes]) => download(at, first, bytes)) },
  { weight: 1, arbitrary: fc.constant(null).map(() => restart()) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        pick,
        fc.record<Crowd>({
          patches: fc.array(patchPlan, { maxLength: 2 }),
          chunks: fc.array(fc.nat(9), { maxLength: 4 }),
          frees: often<number[]>([], [0], [1], [2]),
        }),
      )
      .map(([at, all]) => crowd(at, all)),
  },
)

// ---- the end

/** Drives every upload to its end, compares what is downloaded, and deletes it all: nothing may be left. */
export async function finishAll(model: Model, world: World): Promise<void> {
  world.trace.push('finish')
  for (const upload of model.uploads) await settle(upload, world)
  expect((await listOf(world)).toSorted(), 'the list').toEqual(model.uploads.map(({ id }) => id).toSorted())
  for (const [i, upload] of [...model.uploads].entries()) {
    if (upload.kind !== 'final') await fill(upload, world, i % 2 === 0 ? 'tus' : 'native')
    if (upload.kind === 'partial') {
      const final = await concatenateParts([upload], model, world, null)
      if (final) await observe(final, world)
    } else await finish(upload, world)
  }
  for (const upload of [...model.uploads]) await removeUpload(upload, model, world, 'native')
  expect(await listOf(world), 'after the deletion').toEqual([])
  expect(await world.files(), 'files that nobody knows').toEqual([])
  expect(world.errors, 'what the server logged as its own failures').toEqual([])
}

async function fill(upload: Upload, world: World, by: 'tus' | 'native'): Promise<void> {
  if (upload.size === null) {
    const offset = prefixOf(upload, 'least')
    // A cell that may be stored counts, too: no declared length may cut it off.
    const end = Math.max(offset, ...[...upload.cells].map(([index, { most }]) => index * upload.chunkSize + most))
    const declaration = { id: upload.id, offset, bytes: Buffer.alloc(0), chunked: false, checksum: 'none', declares: end } as const
    const answer = await world.send(patchRequest(declaration))
    expectStatus(world, `declare ${end}`, answer, [204])
    upload.size = end
    settleCompletion(upload)
    await observe(upload, world)
  }
  if (by === 'tus')
    for (let end = 0; !isFull(upload); ) {
      const offset = await offsetOf(world, upload)
      end = Math.min(upload.size, offset + 1700)
      const bytes = upload.file.subarray(offset, end)
      const wanted: Patch = { id: upload.id, offset, bytes, chunked: false, checksum: 'none', declares: null }
      const answer = await world.send(patchRequest(wanted))
      const whole = end === upload.size && upload.dialect === 'native'
      expectStatus(world, describePatch(wanted), answer, whole && upload.announced !== null ? [204, 409] : [204])
      storeRange(upload, offset, end, true)
      settleCompletion(upload)
      if (whole && answer.status === 204) upload.completed = true
      await observe(upload, world)
    }
  else
    for (let index = 0; index < (countOf(upload) ?? 0); index++) {
      if (isWhole(upload, index)) continue
      const { start, end } = placeOf(upload, index)
      const bytes = upload.file.subarray(start, end)
      const answer = await world.send({
        method: 'PUT',
        path: `/v1/uploads/${upload.id}/chunks/${index}`,
        headers: {},
        bytes,
        chunked: false,
      })
      expectStatus(world, `PUT chunk ${index}`, answer, [202])
      storeCell(upload, index, bytes)
      settleCompletion(upload)
      await observe(upload, world)
    }
}

async function finish(upload: Upload, world: World): Promise<void> {
  const status = completeStatus(upload)
  const answer = await world.call('POST', `/v1/uploads/${upload.id}/complete`)
  expectStatus(world, `complete ${upload.name}`, answer, [status])
  noteCompletion(upload, status)
  if (completesByItself(upload)) expect(status, 'what tus created is complete with its last byte').toBe(200)
  await observe(upload, world)
}

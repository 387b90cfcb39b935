import { expect } from 'vitest'
import { sha256 } from '../../support/bytes.ts'
import { TUS } from '../../support/client.ts'
import { command, type Command, type Cut, idOf, listOf, MOST_UPLOADS } from './command.ts'
import { addUpload, CHUNK, fileOf, MAX_UPLOAD, type Model, settleCompletion, storeRange } from './model.ts'
import { type BodyRequest, type ChecksumKind, checksumOf, expectStatus } from './world.ts'

export interface Creation {
  size: number
  deferred: boolean
  partial: boolean
  /** bytes that come along; null for none */
  first: number | null
  chunked: boolean
  checksum: ChecksumKind
}

export const canCreate = (model: Model): boolean => model.uploads.length < MOST_UPLOADS

function creationRequest(
  { size, deferred, partial, chunked, checksum }: Creation,
  bytes: Buffer | null,
): BodyRequest {
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

export const createByTus = (creation: Creation): Command =>
  command(`create by tus ${JSON.stringify(creation)}`, canCreate, async (model, world) => {
    const { size, deferred, partial, first, checksum } = creation
    const bytes = first === null ? null : fileOf(model.made).subarray(0, first)
    const request = creationRequest(creation, bytes)
    const answer = await world.send(request)
    const room = deferred ? MAX_UPLOAD : size
    const over = first !== null && first > room
    const takes = first !== null && (first > 0 || request.chunked)
    const status = !takes ? 201 : over ? 413 : checksum.startsWith('wrong') ? 460 : 201
    expectStatus(world, 'POST', answer, [status])
    // Only a body whose end was not known beforehand leaves an upload behind when it is refused.
    if (status === 460 || (status === 413 && !request.chunked)) return
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

/** A creation whose body is cut, or whose answer is lost: the client learns no Location, but may find it in its list. */
export const createAndBreak = (creation: Creation, cut: Cut): Command =>
  command(
    `create by tus and break off ${JSON.stringify(creation)} ${JSON.stringify(cut)}`,
    canCreate,
    async (model, world) => {
      const { size, deferred, partial, checksum } = creation
      const bytes = fileOf(model.made).subarray(
        0,
        Math.min(creation.first ?? 0, deferred ? MAX_UPLOAD : size),
      )
      const request = creationRequest(creation, bytes)
      const after = Math.floor(cut.at * bytes.length)
      const requestId = await world.breakOff(request, {
        after,
        dwellMs: cut.dwellMs,
        kill: cut.next === 'kill',
      })
      if (cut.next !== 'kill') await world.isOver(requestId)
      const known = new Set(model.uploads.map(({ id }) => id))
      const strays = (await listOf(world)).filter((id) => !known.has(id))
      world.trace.push(`  ${strays.length} created, ${after} of ${bytes.length} bytes sent`)
      expect(strays.length).toBeLessThanOrEqual(1)
      const [id] = strays
      if (id === undefined) return
      const kind = partial ? 'partial' : 'plain'
      const upload = addUpload(model, {
        id,
        dialect: 'tus',
        kind,
        chunkSize: CHUNK,
        size: deferred ? null : size,
      })
      const whole = after === bytes.length && !request.chunked
      if (checksum === 'none' || (checksum === 'right' && whole)) storeRange(upload, 0, after, false)
    },
  )

export interface Init {
  size: number
  chunkSize: number | null
  checksum: 'none' | 'right' | 'wrong'
}

export const createByInit = (init: Init): Command =>
  command(`init ${JSON.stringify(init)}`, canCreate, async (model, world) => {
    const file = fileOf(model.made)
    const announced =
      init.checksum === 'none' || !world.mends
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

import { expect } from 'vitest'
import { TUS } from '../../support/client.ts'
import { command, type Command, idOf, onUpload } from './command.ts'
import { canCreate } from './creation.ts'
import {
  addUpload,
  checksumHolds,
  CHUNK,
  contentOf,
  dropUpload,
  isFull,
  MAX_UPLOAD,
  type Model,
  type Upload,
} from './model.ts'
import { settle } from './observe.ts'
import { type BodyRequest, expectStatus, type World } from './world.ts'

export const completeStatus = (upload: Upload): number => {
  if (upload.completed) return 200
  return upload.kind === 'plain' && isFull(upload) && checksumHolds(upload) ? 200 : 409
}

/** An empty upload of init whose completion fails is not INITIATED any more. */
export function noteCompletion(upload: Upload, status: number): void {
  if (status === 200) upload.completed = true
  else upload.begun ||= isFull(upload)
}

export const complete = (pick: number, kill: number | null): Command =>
  onUpload(
    `complete ${pick}${kill === null ? '' : ` and kill after ${kill} ms`}`,
    pick,
    async (upload, _model, world) => {
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
    },
  )

export const remove = (pick: number, by: 'tus' | 'native'): Command =>
  onUpload(`delete ${pick} by ${by}`, pick, async (upload, model, world) => {
    await removeUpload(upload, model, world, by)
  })

export async function removeUpload(
  upload: Upload,
  model: Model,
  world: World,
  by: 'tus' | 'native',
): Promise<void> {
  const where = by === 'tus' ? `/files/${upload.id}` : `/v1/uploads/${upload.id}`
  expectStatus(world, 'DELETE', await world.call('DELETE', where, { headers: TUS }), [204])
  dropUpload(model, upload)
  expect((await world.call('HEAD', `/files/${upload.id}`, { headers: TUS })).status).toBe(404)
  expect((await world.call('GET', `/v1/uploads/${upload.id}/missing-chunks`)).status).toBe(404)
  expect((await world.files()).filter((file) => file.includes(upload.id))).toEqual([])
}

export const concatenate = (picks: number[], kill: number | null): Command =>
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

export async function concatenateParts(
  parts: Upload[],
  model: Model,
  world: World,
  kill: number | null,
): Promise<Upload | null> {
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

export const download = (pick: number, first: number, bytes: number): Command =>
  onUpload(`download ${pick} from ${first} to ${first + bytes}`, pick, async (upload, _model, world) => {
    const Range = `bytes=${first}-${first + bytes}`
    const answer = await world.call('GET', `/files/${upload.id}`, { headers: { Range } })
    const size = upload.size ?? 0
    const status = !upload.completed ? 409 : first < size ? 206 : 416
    expectStatus(world, `download ${Range}`, answer, [status])
    if (status === 206)
      expect(answer.headers.get('content-range')).toBe(
        `bytes ${first}-${Math.min(first + bytes, size - 1)}/${size}`,
      )
  })

export const restart = (): Command =>
  command(
    'kill -9',
    () => true,
    async (model, world) => {
      await world.restart()
      for (const upload of model.uploads) upload.pending.splice(0)
    },
  )

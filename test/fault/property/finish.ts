import { expect } from 'vitest'
import { listOf, offsetOf } from './command.ts'
import {
  completesByItself,
  countOf,
  isFull,
  isWhole,
  type Model,
  placeOf,
  prefixOf,
  settleCompletion,
  storeCell,
  storeRange,
  type Upload,
} from './model.ts'
import { observe, settle } from './observe.ts'
import { describePatch } from './patch.ts'
import { completeStatus, concatenateParts, noteCompletion, removeUpload } from './whole.ts'
import { expectStatus, type Patch, patchRequest, type World } from './world.ts'

/** Drives every upload to its end, compares what is downloaded, and deletes it all: nothing may be left. */
export async function finishAll(model: Model, world: World): Promise<void> {
  world.trace.push('finish')
  for (const upload of model.uploads) await settle(upload, world)
  expect((await listOf(world)).toSorted(), 'the list').toEqual(model.uploads.map(({ id }) => id).toSorted())
  for (const [i, upload] of model.uploads.slice().entries()) {
    if (upload.kind !== 'final') await fill(upload, world, i % 2 === 0 ? 'tus' : 'native')
    if (upload.kind === 'partial') {
      const final = await concatenateParts([upload], model, world, null)
      if (final) await observe(final, world)
    } else await finish(upload, world)
  }
  for (const upload of model.uploads) await removeUpload(upload, model, world, 'native')
  expect(await listOf(world), 'after the deletion').toEqual([])
  expect(await world.files(), 'files that nobody knows').toEqual([])
  expect(world.errors, 'what the server logged as its own failures').toEqual([])
}

async function fill(upload: Upload, world: World, by: 'tus' | 'native'): Promise<void> {
  if (upload.size === null) {
    const offset = prefixOf(upload, 'least')
    // A cell that may be stored counts, too: no declared length may cut it off.
    const end = Math.max(
      offset,
      ...[...upload.cells].map(([index, { most }]) => index * upload.chunkSize + most),
    )
    const declaration = {
      id: upload.id,
      offset,
      bytes: Buffer.alloc(0),
      chunked: false,
      checksum: 'none',
      declares: end,
    } as const
    const answer = await world.send(patchRequest(declaration))
    expectStatus(world, `declare ${end}`, answer, [204])
    upload.size = end
    settleCompletion(upload)
    await observe(upload, world)
  }
  if (by === 'tus')
    for (let end = 0; !isFull(upload);) {
      const offset = await offsetOf(world, upload)
      end = Math.min(upload.size, offset + 1700)
      const bytes = upload.file.subarray(offset, end)
      const wanted: Patch = { id: upload.id, offset, bytes, chunked: false, checksum: 'none', declares: null }
      const answer = await world.send(patchRequest(wanted))
      const whole = end === upload.size && upload.dialect === 'native'
      expectStatus(
        world,
        describePatch(wanted),
        answer,
        whole && upload.announced !== null ? [204, 409] : [204],
      )
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

import { expect } from 'vitest'
import { DEFERRED_CELLS, describeChunk, planChunk } from './chunk.ts'
import { type Command, offsetOf, onUpload } from './command.ts'
import { cellOf, cellsBetween, countOf, freeCell, placeOf, settleCompletion, storeRange } from './model.ts'
import { describePatch, forgetAppendEnd, type PatchPlan, planPatch } from './patch.ts'
import { expectStatus, patchRequest, type Told } from './world.ts'

export interface Crowd {
  patches: PatchPlan[]
  chunks: number[]
  frees: number[]
}

/** Requests on one upload at the same time, all with the file's bytes: any order of them is right. */
export const crowd = (pick: number, { patches, chunks, frees }: Crowd): Command =>
  onUpload(
    `at once on ${pick} ${JSON.stringify({ patches, chunks, frees })}`,
    pick,
    async (upload, _model, world) => {
      if (upload.kind === 'final') return
      const offset = await offsetOf(world, upload)
      const count = countOf(upload) ?? DEFERRED_CELLS
      if (count === 0) return
      const wanted = patches.map((plan) =>
        planPatch(upload, offset, { ...plan, over: 0, declares: 'nothing' }),
      )
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
        expectStatus(world, `at once: ${describePatch(one)}`, answer, [
          204,
          409,
          423,
          ...(one.checksum.startsWith('wrong') ? [460] : []),
        ])
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
    },
  )

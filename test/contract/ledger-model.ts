import { expect, it } from 'vitest'
import type { CellCommit } from '../../src/core/ports/ledger.ts'
import { CHUNK, commitOf, LATER, newUpload, range, type Fixture } from './ledger-fixture.ts'

const CELLS = 8
const SIZE = CELLS * CHUNK - 3

const lengthOf = (index: number) => Math.min(CHUNK, SIZE - index * CHUNK)

/** The model is the committed bytes of each cell; everything else follows from them. */
function expected(model: number[]) {
  const whole = range(CELLS).filter((index) => model[index] === lengthOf(index))
  const gap = range(CELLS + 1).find((index) => !whole.includes(index)) as number
  return { storedCells: whole.length, offset: Math.min(gap * CHUNK + (model[gap] ?? 0), SIZE), whole }
}

export function agreesWithModel(fixture: () => Fixture): void {
  it.each(range(12))('random commits and freed cells agree with a simple model (seed %i)', async (seed) => {
    const { ledger, other } = fixture()
    const random = randomOf(seed)
    const below = (limit: number) => Math.floor(random() * limit)
    const { id } = await ledger.create(newUpload({ size: SIZE }))
    const model = range(CELLS).map(() => 0)

    for (let step = 0; step < 25; step++) {
      // Each touches cells of its own, so that the order does not matter: they may run in parallel.
      const touched = range(CELLS).filter(() => random() < 0.4)
      await Promise.all(
        touched.map(async (index) => {
          const from = model[index] as number
          const side = random() < 0.5 ? ledger : other
          if (from > 0 && random() < 0.15) {
            model[index] = 0
            return expect(await side.freeCell(id, index, LATER)).toBe(true)
          }
          const to = random() < 0.5 ? lengthOf(index) : from + below(lengthOf(index) - from + 1)
          const stale = random() < 0.2
          const cell: CellCommit = { index, from: stale ? from + 1 : from, to, whole: to === lengthOf(index) }
          const refused = stale || from === lengthOf(index)
          if (!refused) model[index] = to
          expect((await side.commit(commitOf(id, [cell]))).ok).toBe(!refused)
        }),
      )
      const { storedCells, offset, whole } = expected(model)
      expect(await ledger.get(id)).toMatchObject({ storedCells, offset })
      expect(await other.storedCells(id)).toEqual(whole)
    }
  })
}

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed + 1
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

import { expect, test } from 'vitest'
import type { ChunkStore, Write, Written } from '../../src/core/ports/store.ts'
import type { Upload } from '../../src/core/upload.ts'
import { timedStore } from '../../src/observe/timed-ports.ts'
import { tracedStore } from '../../src/observe/traced-ports.ts'

const write = {
  upload: {} as Upload,
  position: 7,
  length: 3,
  turn: { enter: () => undefined, leave: () => {} },
  body: { cause: null },
} as unknown as Write

/** A store that has taken three bytes, and is told later what came of them. */
function storeAhead() {
  let settle: (written: Written) => void = () => {}
  const written = new Promise<Written>((resolve) => (settle = resolve))
  const ahead = { cells: 4, takeAt: async () => ({ bytes: 3, written }) }
  return { store: { name: 's3', ahead } as unknown as ChunkStore, settle }
}

const FAILED = { bytes: 0, failure: new Error('the bucket is away') }

test('the time of a write ahead is told once the bytes are written, and whether that failed', async () => {
  const { store, settle } = storeAhead()
  const told: unknown[] = []
  const { ahead } = timedStore(store, (name, operation, _seconds, failed) =>
    told.push([name, operation, failed]),
  )
  const taken = await ahead?.takeAt(write)
  expect([ahead?.cells, taken?.bytes, told]).toEqual([4, 3, []])
  settle(FAILED)
  expect(await taken?.written).toBe(FAILED)
  await expect.poll(() => told).toEqual([['s3', 'write', true]])
})

test('the step of a write ahead ends once the bytes are written, with what came of them', async () => {
  const { store, settle } = storeAhead()
  const notes: unknown[] = []
  const ends: unknown[] = []
  const begin = (name: string, attributes: object) => {
    notes.push({ name, ...attributes })
    return {
      note: (more: object) => void notes.push(more),
      run: <T>(work: () => T) => work(),
      end: (failure?: unknown) => void ends.push(failure),
    }
  }
  const { ahead } = tracedStore(store, begin)
  const taken = await ahead?.takeAt(write)
  expect([ahead?.cells, taken?.bytes, ends]).toEqual([4, 3, []])
  expect(notes).toMatchObject([{ name: 'store.write', position: 7, length: 3 }])
  settle(FAILED)
  expect(await taken?.written).toBe(FAILED)
  expect(ends).toEqual([FAILED.failure])
  expect(notes[1]).toMatchObject({ bytes: 0, retries: 0 })
})

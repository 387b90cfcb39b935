import * as fc from 'fast-check'
import { type ChunkPlan, free, putAndBreak, putChunk } from './chunk.ts'
import type { Command, Cut } from './command.ts'
import { createAndBreak, createByInit, createByTus, type Creation, type Init } from './creation.ts'
import { crowd, type Crowd } from './crowd.ts'
import { MAX_UPLOAD } from './model.ts'
import { isDeferred, patch, patchAndBreak, type PatchPlan } from './patch.ts'
import { complete, concatenate, download, remove, restart } from './whole.ts'
import type { ChecksumKind } from './world.ts'

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
const chunked = fc.oneof(
  { weight: 2, arbitrary: fc.constant(false) },
  { weight: 1, arbitrary: fc.constant(true) },
)
const declares = often<PatchPlan['declares']>('nothing', 'its end', 'more', 'less', 'another')
const patchPlan = fc.record({ length, over: fc.constant(0), chunked, checksum, declares })
/** The last PATCH of a client that knew no length before. */
const declaration = fc.record<PatchPlan>({
  length: fc.constantFrom<PatchPlan['length'][]>(0, 1, 'to the end of the cell'),
  over: fc.constantFrom(0, 0, 5),
  chunked,
  checksum,
  declares: fc.constantFrom('its end', 'more', 'less'),
})
const cut = fc.record<Cut>({
  at: fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constant(1)),
  dwellMs: fc.constantFrom(0, 2, 5, 20),
  next: fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom('settle' as const, 'go on' as const) },
    { weight: 1, arbitrary: fc.constant('kill' as const) },
  ),
})
const creation = fc.record<Creation>({
  size,
  deferred: chunked,
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

const init = fc.record<Init>({
  size,
  chunkSize: fc.option(fc.constantFrom(100, 512, 1000, 1001, 2500, 7000)),
  checksum: often<Init['checksum']>('none', 'right', 'wrong'),
})

/** What a sequence begins with. */
export const anyCreation: fc.Arbitrary<Command> = fc.oneof(
  { weight: 2, arbitrary: creation.map(createByTus) },
  { weight: 1, arbitrary: init.map(createByInit) },
)

/** Any step of what clients, networks and operators do. */
export const anyCommand: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: anyCreation },
  { weight: 1, arbitrary: fc.tuple(creation, cut).map(([what, where]) => createAndBreak(what, where)) },
  { weight: 8, arbitrary: fc.tuple(pick, patchPlan).map(([at, plan]) => patch(at, plan, 'HEAD')) },
  { weight: 2, arbitrary: fc.tuple(pick, patchPlan).map(([at, plan]) => patch(at, plan, 'last PATCH')) },
  {
    weight: 1,
    arbitrary: fc.tuple(pick, patchPlan, fc.nat(MAX_UPLOAD)).map(([at, plan, from]) => patch(at, plan, from)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(pick, patchPlan, fc.constantFrom(1, 100, 1500))
      .map(([at, plan, over]) => patch(at, { ...plan, over }, 'HEAD')),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(pick, declaration).map(([at, plan]) => patch(at, plan, 'HEAD', isDeferred)),
  },
  {
    weight: 5,
    arbitrary: fc
      .tuple(pick, fc.oneof(patchPlan, declaration), cut)
      .map(([at, plan, where]) => patchAndBreak(at, plan, where)),
  },
  { weight: 7, arbitrary: fc.tuple(pick, chunkPlan).map(([at, plan]) => putChunk(at, plan)) },
  {
    weight: 3,
    arbitrary: fc.tuple(pick, chunkPlan, cut).map(([at, plan, where]) => putAndBreak(at, plan, where)),
  },
  { weight: 3, arbitrary: fc.tuple(pick, fc.nat(9)).map(([at, index]) => free(at, index)) },
  { weight: 2, arbitrary: fc.tuple(pick, killAfter).map(([at, kill]) => complete(at, kill)) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.array(fc.nat(7), { minLength: 1, maxLength: 3 }), killAfter)
      .map(([picks, kill]) => concatenate(picks, kill)),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(pick, fc.constantFrom('tus' as const, 'native' as const))
      .map(([at, by]) => remove(at, by)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(pick, size, fc.nat(3000)).map(([at, first, bytes]) => download(at, first, bytes)),
  },
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

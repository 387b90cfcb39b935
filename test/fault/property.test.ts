import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, test } from 'vitest'
import { buildServer, type BuiltServer } from '../support/built-server.ts'
import { checkSequences, limitMs, numRuns, seed } from './property/run.ts'
import { createWorld, type World } from './property/world.ts'

let built: BuiltServer | undefined
let root: string | undefined
let world: World
beforeAll(async () => {
  built = await buildServer()
  root = await mkdtemp(path.join(tmpdir(), 'uploads-'))
  world = await createWorld(root, built.main)
})
afterAll(async () => {
  world?.stop()
  if (root !== undefined) await rm(root, { recursive: true, force: true })
  await built?.remove()
})

test(
  `what clients do in any order, with broken connections and kill -9 in between, leaves what the model says (seed ${seed}, ${numRuns} runs)`,
  () => checkSequences(world),
  limitMs + 60_000,
)

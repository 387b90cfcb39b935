import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, test } from 'vitest'
import { buildServer, type BuiltServer } from '../support/built-server.ts'
import { startS3, type S3Emulator } from '../support/s3/server.ts'
import { s3Env } from '../support/s3-env.ts'
import { checkSequences, limitMs, numRuns, seed } from './property/run.ts'
import { createWorld, type World } from './property/world.ts'

let built: BuiltServer | undefined
let root: string | undefined
let s3: S3Emulator | undefined
let world: World
beforeAll(async () => {
  built = await buildServer()
  root = await mkdtemp(path.join(tmpdir(), 'uploads-'))
  const emulator = await startS3()
  s3 = emulator
  world = await createWorld(root, built.main, {
    env: s3Env(emulator),
    files: async () => [...emulator.objects(), ...emulator.uploads()].map(({ key }) => key),
    // An object is made before it can be read, and no chunk of it can be sent again then.
    mends: false,
  })
})
afterAll(async () => {
  world?.stop()
  await s3?.close()
  if (root !== undefined) await rm(root, { recursive: true, force: true })
  await built?.remove()
})

test(
  `what clients do in any order leaves what the model says on S3, too (seed ${seed}, ${numRuns} runs)`,
  () => checkSequences(world),
  limitMs + 60_000,
)

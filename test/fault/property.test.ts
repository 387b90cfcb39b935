import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildServer, type BuiltServer } from '../support/built-server.ts'
import { anyCommand, anyCreation } from './property/any-command.ts'
import { finishAll } from './property/finish.ts'
import { emptyModel } from './property/model.ts'
import { createWorld, type World } from './property/world.ts'

/** FC_SEED=… FC_RUNS=… for other sequences, and more of them. */
const seed = Number(process.env['FC_SEED'] ?? 20_261_123)
const numRuns = Number(process.env['FC_RUNS'] ?? 30)
/** A slow machine does what it can: without FC_RUNS, time ends the test as well. */
const limitMs = process.env['FC_RUNS'] === undefined ? 90_000 : numRuns * 10_000

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
  async () => {
    const steps = fc.commands([anyCommand], { maxCommands: 40, size: 'max' })
    await fc.assert(
      fc.asyncProperty(anyCreation, steps, async (first, commands) => {
        const model = emptyModel()
        world.forget()
        try {
          await first.run(model, world)
          await fc.asyncModelRun(() => ({ model, real: world }), commands)
          await finishAll(model, world)
        } catch (error) {
          throw new Error(`${String(error)}\nwhat was done:\n${world.trace.join('\n')}`, { cause: error })
        } finally {
          await deleteAll()
        }
      }),
      { seed, numRuns, includeErrorInReport: true, plugins: [fc.interruptAfterTimeLimit(limitMs)] },
    )
  },
  limitMs + 60_000,
)

/** Every sequence finds an empty server, so that a shorter one fails by itself, too. */
async function deleteAll(): Promise<void> {
  const list = await world.call('GET', '/v1/uploads?limit=1000')
  expect(list.status).toBe(200)
  for (const { upload_id: id } of list.json.uploads) await world.call('DELETE', `/v1/uploads/${id}`)
}

import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { appendFileSync } from 'node:fs'
import path from 'node:path'
import { buildServer, type BuiltServer } from '../support/built-server.ts'
import { anyCommand, finishAll } from './commands.ts'
import { emptyModel } from './model.ts'
import { createWorld, type World } from './world.ts'

/** FC_SEED=… FC_RUNS=… for other sequences, and more of them. */
const seed = Number(process.env['FC_SEED'] ?? 20_261_123)
const numRuns = Number(process.env['FC_RUNS'] ?? 60)

let built: BuiltServer
let root: string
let world: World
beforeAll(async () => {
  built = process.env['FC_MAIN'] ? { main: '', remove: async () => {} } : await buildServer()
  root = await mkdtemp(path.join(tmpdir(), 'uploads-'))
  world = await createWorld(root, process.env['FC_MAIN'] ?? built.main)
})
afterAll(async () => {
  world.stop()
  await rm(root, { recursive: true, force: true })
  await built.remove()
})

test(
  `what clients do in any order, with broken connections and kill -9 in between, leaves what the model says (seed ${seed}, ${numRuns} runs)`,
  async () => {
    const sequences = fc.commands([anyCommand], { maxCommands: 25, size: 'max' })
    await fc.assert(
      fc.asyncProperty(sequences, async (commands) => {
        const model = emptyModel()
        world.forget()
        try {
          await fc.asyncModelRun(() => ({ model, real: world }), commands)
          await finishAll(model, world)
          if (process.env['FC_TRACE']) appendFileSync(process.env['FC_TRACE'], world.trace.join('\n') + '\n---\n')
        } catch (error) {
          throw new Error(`${String(error)}\nwhat was done:\n${world.trace.join('\n')}`, { cause: error })
        } finally {
          await deleteAll()
        }
      }),
      { seed, numRuns, includeErrorInReport: true, interruptAfterTimeLimit: numRuns * 5_000 + 60_000 },
    )
  },
  numRuns * 6_000 + 120_000,
)

/** Every sequence finds an empty server, so that a shorter one fails by itself, too. */
async function deleteAll(): Promise<void> {
  const list = await world.call('GET', '/v1/uploads?limit=1000')
  expect(list.status).toBe(200)
  for (const { upload_id: id } of list.json.uploads) await world.call('DELETE', `/v1/uploads/${id}`)
}

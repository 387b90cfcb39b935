import * as fc from 'fast-check'
import { expect } from 'vitest'
import { anyCommand, anyCreation } from './any-command.ts'
import { finishAll } from './finish.ts'
import { emptyModel } from './model.ts'
import type { World } from './world.ts'

/** FC_SEED=… FC_RUNS=… for other sequences, and more of them. */
export const seed = Number(process.env['FC_SEED'] ?? 20_261_123)
export const numRuns = Number(process.env['FC_RUNS'] ?? 30)
/** A slow machine does what it can: without FC_RUNS, time ends the test as well. */
export const limitMs = process.env['FC_RUNS'] === undefined ? 90_000 : numRuns * 10_000

/** Lets clients do anything in any order, and compares the server with the model all the while. */
export async function checkSequences(world: World): Promise<void> {
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
        await deleteAll(world)
      }
    }),
    { seed, numRuns, includeErrorInReport: true, plugins: [fc.interruptAfterTimeLimit(limitMs)] },
  )
}

/** Every sequence finds an empty server, so that a shorter one fails by itself, too. */
async function deleteAll(world: World): Promise<void> {
  const list = await world.call('GET', '/v1/uploads?limit=1000')
  expect(list.status).toBe(200)
  for (const { upload_id: id } of list.json.uploads) await world.call('DELETE', `/v1/uploads/${id}`)
}

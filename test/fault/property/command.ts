import type * as fc from 'fast-check'
import type { Model, Upload } from './model.ts'
import { observe, observeAll, settle } from './observe.ts'
import { headOf, type Told, type World } from './world.ts'

export type Command = fc.AsyncCommand<Model, World>

export const MOST_UPLOADS = 4

/** A command that runs where it can, and after which every upload is looked at. */
export const command = (
  what: string,
  can: (model: Model) => boolean,
  run: (model: Model, world: World) => Promise<void>,
): Command => ({
  check: can,
  async run(model, world) {
    world.trace.push(what)
    await run(model, world)
    await observeAll(model, world)
  },
  toString: () => what,
})

/** A command on one of the uploads that are there. It stands still unless the command may meet a request at work. */
export const onUpload = (
  what: string,
  pick: number,
  run: (upload: Upload, model: Model, world: World) => Promise<void>,
  { meetsOthers = false, among = (_upload: Upload): boolean => true } = {},
): Command =>
  command(
    what,
    ({ uploads }) => uploads.some(among),
    async (model, world) => {
      const uploads = model.uploads.filter(among)
      const upload = uploads[pick % uploads.length] as Upload
      world.trace.push(`  on ${upload.name} ${upload.id}`)
      if (!meetsOthers || upload.maybeSize !== null) await settle(upload, world)
      const pending = upload.pending.length > 0
      await run(upload, model, world)
      if (pending) await settle(upload, world)
    },
  )

export interface Cut {
  /** the share of the body that is sent; with all of a body that has a length, only the answer is lost */
  at: number
  dwellMs: number
  next: 'settle' | 'go on' | 'kill'
}

/** Goes on after a request was broken off. */
export async function leave(upload: Upload, world: World, requestId: string, { next }: Cut): Promise<void> {
  if (next !== 'kill') upload.pending.push(requestId)
  if (next === 'settle') await settle(upload, world)
  if (next === 'kill') await observe(upload, world)
}

export const idOf = (answer: Told): string => String(answer.headers['location']).split('/').at(-1) ?? ''

export const listOf = async (world: World): Promise<string[]> =>
  (await world.call('GET', '/v1/uploads?limit=1000')).json.uploads.map(
    (shown: { upload_id: string }) => shown.upload_id,
  )

export const offsetOf = async (world: World, upload: Upload): Promise<number> =>
  Number((await headOf(world, upload.id)).headers.get('upload-offset'))

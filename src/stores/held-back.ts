import { HttpError } from '../core/errors.ts'
import type { ChunkStore } from '../core/ports.ts'

/** A store that takes no bytes as long as `isFull` says so, though its disk might. */
export const heldBack = (store: ChunkStore, isFull: () => boolean): ChunkStore => ({
  ...store,
  async writeAt(write) {
    if (isFull()) return { bytes: 0, failure: new HttpError('insufficient_storage') }
    return store.writeAt(write)
  },
  async concat(target, parts) {
    if (isFull()) throw new HttpError('insufficient_storage')
    await store.concat(target, parts)
  },
})

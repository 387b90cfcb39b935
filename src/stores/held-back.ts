import { HttpError } from '../core/errors.ts'
import type { ChunkStore, WritesAhead, Written } from '../core/ports/store.ts'

/** A store that takes no bytes as long as `isFull` says so, though its disk might. */
export const heldBack = (store: ChunkStore, isFull: () => boolean): ChunkStore => ({
  ...store,
  async writeAt(write) {
    return isFull() ? refused() : store.writeAt(write)
  },
  ...(store.ahead && { ahead: aheadHeldBack(store.ahead, isFull) }),
  async concat(target, parts) {
    if (isFull()) throw new HttpError('insufficient_storage')
    await store.concat(target, parts)
  },
})

const aheadHeldBack = (ahead: WritesAhead, isFull: () => boolean): WritesAhead => ({
  ...ahead,
  async takeAt(write) {
    return isFull() ? { bytes: 0, written: Promise.resolve(refused()) } : ahead.takeAt(write)
  },
})

const refused = (): Written => ({ bytes: 0, failure: new HttpError('insufficient_storage') })

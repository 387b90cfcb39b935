import { SLAB_BYTES, type Share } from './part-buffers.ts'

/** The bytes of a cell, or of a part, by their place in it: in slabs, which are taken as they are written to. */
export interface CellMemory {
  /** Puts bytes at their place; waits for memory. */
  write(at: number, bytes: Uint8Array): Promise<void>
  /** The bytes from `start` up to but not including `end`, in pieces; all of them must have been written. */
  read(start: number, end: number): Uint8Array[]
  /** Gives up all that it holds. */
  clear(): void
}

export function createCellMemory(share: Share): CellMemory {
  const slabs = new Map<number, Uint8Array | Promise<Uint8Array>>()

  const slabAt = (index: number): Uint8Array | Promise<Uint8Array> => {
    const known = slabs.get(index)
    if (known) return known
    const taken = share.take()
    slabs.set(index, taken)
    // Others that write to it meanwhile wait for the same.
    if (!(taken instanceof Uint8Array)) void taken.then((slab) => slabs.set(index, slab))
    return taken
  }

  return {
    async write(at, bytes) {
      for (let done = 0; done < bytes.length;) {
        const offset = (at + done) % SLAB_BYTES
        const found = slabAt(Math.floor((at + done) / SLAB_BYTES))
        const slab = found instanceof Uint8Array ? found : await found
        const fits = Math.min(bytes.length - done, SLAB_BYTES - offset)
        slab.set(bytes.subarray(done, done + fits), offset)
        done += fits
      }
    },
    read(start, end) {
      const pieces: Uint8Array[] = []
      for (let at = start; at < end;) {
        const index = Math.floor(at / SLAB_BYTES)
        const from = index * SLAB_BYTES
        const slab = slabs.get(index)
        if (!(slab instanceof Uint8Array)) throw new Error('bytes are missing in the middle of a chunk')
        const until = Math.min(end, from + SLAB_BYTES)
        pieces.push(slab.subarray(at - from, until - from))
        at = until
      }
      return pieces
    },
    clear() {
      share.giveBack([...slabs.values()].filter((slab) => slab instanceof Uint8Array))
      slabs.clear()
    },
  }
}

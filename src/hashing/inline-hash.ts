import { createHash } from 'node:crypto'
import type { OpenHash } from '../core/ports/hash.ts'

/** Computed where it is asked for, by the event loop's thread. */
export const openInlineHash: OpenHash = (algorithm) => {
  const hash = createHash(algorithm)
  return {
    update(bytes) {
      hash.update(bytes)
      return undefined
    },
    digest: async () => hash.digest(),
    drop() {},
  }
}

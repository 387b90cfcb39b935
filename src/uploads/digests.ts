import type { OpenHash } from '../core/ports/hash.ts'
import type { Digest } from '../core/ports/store.ts'

/** The digests of one body, by each algorithm that it may be judged by. */
export interface Digests extends Digest {
  /** Of the bytes so far; ends it. @throws when the body is not hashed by that algorithm */
  of(algorithm: string): Promise<Uint8Array>
  /** Ends all that were not asked for. */
  drop(): void
}

/** @param bytes that will come; null where nobody knows */
export function openDigests(
  openHash: OpenHash,
  algorithms: readonly string[],
  bytes: number | null,
): Digests {
  const hashes = new Map(algorithms.map((algorithm) => [algorithm, openHash(algorithm, bytes)]))
  return {
    async update(piece) {
      for (const updated of Array.from(hashes.values(), (hash) => hash.update(piece))) await updated
    },
    async of(algorithm) {
      const hash = hashes.get(algorithm)
      if (!hash) throw new Error(`the body is not hashed by ${algorithm}`)
      return hash.digest()
    },
    drop() {
      for (const hash of hashes.values()) hash.drop()
    },
  }
}

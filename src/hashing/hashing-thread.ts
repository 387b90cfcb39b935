/** The thread of `hashing.ts`: computes, and answers each piece and each end in the order in which they come. */
import { createHash, type Hash } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import type { Answer, Order } from './hashing.ts'

const hashes = new Map<number, Hash>()

parentPort?.on('message', ({ id, algorithm, piece, ends }: Order) => {
  let hash = hashes.get(id)
  if (!hash) hashes.set(id, (hash = createHash(algorithm)))
  if (piece) hash.update(piece)
  if (ends) hashes.delete(id)
  const answer: Answer = ends === 'with a digest' ? hash.digest() : null
  parentPort?.postMessage(answer)
})
const ready: Answer = null
parentPort?.postMessage(ready)

import type { Turn } from '../core/ports/body.ts'
import { createFairQueue } from './fair-queue.ts'

export interface WorkerLimits {
  /** writes to storage at a time */
  workerCount: number
  /** of these, the most that one upload may hold while others wait; 0 for half of them */
  maxFairInflightChunksPerUpload: number
}

export interface Workers {
  /** The turns of one body, which writes once at a time. */
  turnsOf(ownerId: string, uploadId: string): Turn
  busy(): number
  /** writes that wait */
  queued(): number
}

interface Waiter {
  uploadId: string
  go: () => void
}

/**
 * Gives out turns to write. An upload with many bodies may use every worker that nobody else wants;
 * where others wait, it gets no more than its share. No worker is free while a write waits: where all
 * that wait have their share, they get more.
 */
export function createWorkers({ workerCount, maxFairInflightChunksPerUpload }: WorkerLimits): Workers {
  const share = maxFairInflightChunksPerUpload || Math.max(1, Math.floor(workerCount / 2))
  const waiting = createFairQueue<Waiter>()
  const writesOf = new Map<string, number>()
  let busy = 0

  const belowShare = ({ uploadId }: Waiter) => (writesOf.get(uploadId) ?? 0) < share
  const count = (uploadId: string, change: 1 | -1) => {
    const writes = (writesOf.get(uploadId) ?? 0) + change
    if (writes === 0) writesOf.delete(uploadId)
    else writesOf.set(uploadId, writes)
    busy += change
  }

  return {
    turnsOf: (ownerId, uploadId) => ({
      enter() {
        // Nobody waits while a worker is free, so nobody is passed over here.
        if (busy < workerCount) {
          count(uploadId, 1)
          return undefined
        }
        return new Promise((go) => waiting.push(ownerId, uploadId, { uploadId, go }))
      },
      leave() {
        count(uploadId, -1)
        const next = waiting.shift(belowShare)
        if (!next) return
        count(next.uploadId, 1)
        next.go()
      },
    }),
    busy: () => busy,
    queued: () => waiting.size(),
  }
}

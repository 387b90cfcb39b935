import { throttled, type ThrottleReason } from '../core/errors.ts'
import type { Admission, Gate, Meter } from '../core/ports.ts'

export interface GateLimits {
  /** writes to storage at a time */
  workerCount: number
  /** writes that may wait before further bodies are refused */
  taskQueueMaxsize: number
  /** bodies open at a time, of all uploads and of one */
  maxGlobalInflightChunks: number
  maxInflightChunksPerUpload: number
}

/** The gate's load, for the metrics. */
export interface GateLoad {
  inflight: number
  queued: number
  busy: number
  workers: number
}

/**
 * Bodies are admitted, writes are scheduled: a slot covers one write and never a silent socket, so
 * trickling clients keep nobody from the disk. Waiting writes are served round-robin between owners
 * and, within one, between uploads.
 */
export function createGate(limits: GateLimits, meter: Pick<Meter, 'throttled'>): Gate & { load(): GateLoad } {
  const openByUpload = new Map<string, number>()
  const queue = createFairQueue()
  let open = 0
  let busy = 0

  const refusal = (uploadId: string): ThrottleReason | null => {
    if (queue.size() >= limits.taskQueueMaxsize) return 'queue_full'
    if (open >= limits.maxGlobalInflightChunks) return 'global_inflight_limit'
    if ((openByUpload.get(uploadId) ?? 0) >= limits.maxInflightChunksPerUpload) return 'upload_inflight_limit'
    return null
  }

  return {
    admit(ownerId, uploadId): Admission {
      const reason = refusal(uploadId)
      if (reason) {
        meter.throttled(reason)
        throw throttled(reason)
      }
      open += 1
      openByUpload.set(uploadId, (openByUpload.get(uploadId) ?? 0) + 1)
      let released = false

      return {
        enter() {
          if (busy < limits.workerCount) {
            busy += 1
            return undefined
          }
          return new Promise((resolve) => queue.push(ownerId, uploadId, resolve))
        },
        leave() {
          const next = queue.shift()
          if (next) next()
          else busy -= 1
        },
        release() {
          if (released) return
          released = true
          open -= 1
          const left = (openByUpload.get(uploadId) ?? 1) - 1
          if (left > 0) openByUpload.set(uploadId, left)
          else openByUpload.delete(uploadId)
        },
      }
    },
    load: () => ({ inflight: open, queued: queue.size(), busy, workers: limits.workerCount }),
  }
}

type Waiter = () => void

/** Owners take turns, and so do the uploads of an owner. Maps keep their order: the first is next. */
function createFairQueue() {
  const owners = new Map<string, Map<string, Waiter[]>>()
  let size = 0

  return {
    size: () => size,
    push(ownerId: string, uploadId: string, waiter: Waiter): void {
      const uploads = owners.get(ownerId) ?? new Map<string, Waiter[]>()
      owners.set(ownerId, uploads)
      const waiters = uploads.get(uploadId)
      if (waiters) waiters.push(waiter)
      else uploads.set(uploadId, [waiter])
      size += 1
    },
    shift(): Waiter | undefined {
      const owner = rotate(owners)
      if (!owner) return undefined
      const [ownerId, uploads] = owner
      const upload = rotate(uploads)
      const waiter = upload?.[1].shift()
      if (upload?.[1].length === 0) uploads.delete(upload[0])
      if (uploads.size === 0) owners.delete(ownerId)
      size -= 1
      return waiter
    },
  }
}

/** The first entry, sent to the back. */
function rotate<T>(map: Map<string, T>): [string, T] | undefined {
  const first = map.entries().next().value
  if (first) {
    map.delete(first[0])
    map.set(first[0], first[1])
  }
  return first
}

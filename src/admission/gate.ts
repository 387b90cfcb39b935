import { throttled, type ThrottleReason } from '../core/errors.ts'
import type { Admission, Gate, Wait } from '../core/ports/gate.ts'
import type { Meter } from '../core/ports/meter.ts'
import { createFairQueue } from './fair-queue.ts'
import { createWorkers, type WorkerLimits } from './workers.ts'

export interface GateLimits extends WorkerLimits {
  /** bodies and writes that may wait before further bodies are refused */
  taskQueueMaxsize: number
  /** bodies open at a time, of all uploads and of one */
  maxGlobalInflightChunks: number
  maxInflightChunksPerUpload: number
  /** how long a body waits to be admitted; 0 to refuse it at once */
  admissionWaitMs: number
}

/** The gate's load, for the metrics. */
export interface GateLoad {
  inflight: number
  queued: number
  busy: number
  workers: number
}

interface WaitingBody {
  admit: () => void
  refuse: (why: Error) => void
}

/**
 * Bodies are admitted, writes are scheduled: a worker covers one write and never a silent socket, so
 * trickling clients keep nobody from the disk. What waits, body or write, is served round-robin between
 * owners and, within one, between uploads.
 */
export function createGate(
  limits: GateLimits,
  meter: Pick<Meter, 'throttled'>,
): Gate & { load(): GateLoad; close(why: Error): Promise<void> } {
  const workers = createWorkers(limits)
  const waiting = createFairQueue<WaitingBody>()
  /** bodies of each upload, open and waiting */
  const bodiesOf = new Map<string, number>()
  let open = 0
  let stopped: Error | null = null
  /** called once no body is open */
  const whenEmpty: (() => void)[] = []

  const queued = () => waiting.size() + workers.queued()
  const refusal = (uploadId: string): ThrottleReason | null => {
    if (queued() >= limits.taskQueueMaxsize) return 'queue_full'
    if ((bodiesOf.get(uploadId) ?? 0) >= limits.maxInflightChunksPerUpload) return 'upload_inflight_limit'
    return open >= limits.maxGlobalInflightChunks ? 'global_inflight_limit' : null
  }
  const refuse = (reason: ThrottleReason) => {
    meter.throttled(reason)
    return throttled(reason)
  }
  const count = (uploadId: string, change: 1 | -1) => {
    const bodies = (bodiesOf.get(uploadId) ?? 0) + change
    if (bodies > 0) bodiesOf.set(uploadId, bodies)
    else bodiesOf.delete(uploadId)
  }

  /** Opens a body that is counted. */
  const admission = (ownerId: string, uploadId: string): Admission => {
    open += 1
    let released = false
    return {
      ...workers.turnsOf(ownerId, uploadId),
      release() {
        if (released) return
        released = true
        count(uploadId, -1)
        open -= 1
        waiting.shift()?.admit()
        if (open === 0) for (const tell of whenEmpty.splice(0)) tell()
      },
    }
  }

  const wait = (ownerId: string, uploadId: string): Wait => {
    let giveUp: Wait['giveUp'] = () => {}
    const admitted = new Promise<Admission>((resolve, reject) => {
      const body: WaitingBody = {
        admit() {
          clearTimeout(timer)
          resolve(admission(ownerId, uploadId))
        },
        refuse(why) {
          clearTimeout(timer)
          count(uploadId, -1)
          reject(why)
        },
      }
      giveUp = (why) => {
        if (waiting.remove(ownerId, uploadId, body)) body.refuse(why)
      }
      const timer = setTimeout(() => giveUp(refuse('global_inflight_limit')), limits.admissionWaitMs)
      waiting.push(ownerId, uploadId, body)
    })
    return { admitted, giveUp }
  }

  return {
    admit(ownerId, uploadId) {
      const reason = refusal(uploadId)
      if (reason) throw refuse(reason)
      count(uploadId, 1)
      return admission(ownerId, uploadId)
    },
    admitInTurn(ownerId, uploadId) {
      const reason = refusal(uploadId)
      const mayWait = reason === 'global_inflight_limit' && limits.admissionWaitMs > 0
      if (reason && !mayWait) throw refuse(reason)
      if (reason && stopped) throw stopped
      count(uploadId, 1)
      return reason ? wait(ownerId, uploadId) : admission(ownerId, uploadId)
    },
    /** Sends away who waits, and lets nobody wait any more. Resolves once no body is open. */
    async close(why) {
      stopped = why
      for (let body = waiting.shift(); body; body = waiting.shift()) body.refuse(why)
      if (open > 0) await new Promise<void>((tell) => whenEmpty.push(tell))
    },
    load: () => ({ inflight: open, queued: queued(), busy: workers.busy(), workers: limits.workerCount }),
  }
}

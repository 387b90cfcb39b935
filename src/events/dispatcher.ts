import { setTimeout as sleep } from 'node:timers/promises'
import type { Deliveries, Delivery } from '../core/events.ts'
import { retryIn } from './backoff.ts'
import { createBell } from './bell.ts'
import type { Send } from './send.ts'

/** Of one receiver, at a time: one that is slow or away keeps no other waiting. */
const AT_A_TIME = 8
/** how long it takes, at most, until something new is noticed */
const LOOK_MS = 500
/** beyond the time of an attempt, for noting what came of it */
const MARGIN_MS = 5_000
/** how long a shutdown waits for that */
const NOTING_MS = 2_000

export type Result = 'delivered' | 'failed' | 'dead'

export interface Dispatch {
  endpoint: string
  deliveries: Deliveries
  send: Send
  limits: { maxAttempts: number; retryMs: number; timeoutMs: number }
  onResult(result: Result, delivery: Delivery, why: string | null): void
  /** told when the ledger begins to fail, and not again until it has answered */
  onTrouble(error: unknown): void
}

export interface Dispatcher {
  /** Takes no more; what is being sent has so much time, and is given back then. */
  stop(patienceMs: number): Promise<void>
}

/** Takes a receiver's events to it, for as long as the process runs. Others may do the same. */
export function startDispatcher(dispatch: Dispatch): Dispatcher {
  const { endpoint, deliveries, limits } = dispatch
  /** An end makes room, and lets the next event of its upload go. */
  const bell = createBell()
  let stopping = false
  const cutting = new AbortController()
  const sending = new Set<Promise<void>>()
  let troubled = false

  const minding = async <T>(work: Promise<T>): Promise<T | null> => {
    try {
      const result = await work
      troubled = false
      return result
    } catch (error) {
      if (!troubled) dispatch.onTrouble(error)
      troubled = true
      return null
    }
  }

  /** What could not be noted is sent again when its lease is over. */
  const deliver = async (delivery: Delivery): Promise<void> => {
    const why = await dispatch.send(endpoint, delivery, cutting.signal)
    if (why === null) {
      dispatch.onResult('delivered', delivery, null)
      await minding(deliveries.delivered(delivery))
    } else if (cutting.signal.aborted) await minding(deliveries.release(delivery))
    else {
      const retryInMs = retryIn(delivery.attempts + 1, limits)
      dispatch.onResult(retryInMs === null ? 'dead' : 'failed', delivery, why)
      await minding(deliveries.failed(delivery, why, retryInMs))
    }
  }

  const run = async (): Promise<void> => {
    while (!stopping) {
      const free = AT_A_TIME - sending.size
      const leaseMs = limits.timeoutMs + MARGIN_MS
      const due = free > 0 ? await minding(deliveries.claim(endpoint, free, leaseMs)) : []
      for (const delivery of due ?? []) {
        const over: Promise<void> = deliver(delivery).finally(() => {
          sending.delete(over)
          bell.ring()
        })
        sending.add(over)
      }
      // A little more or less, so that processes that were started together don't keep step.
      await bell.wait(LOOK_MS * (0.75 + Math.random() / 2))
    }
  }

  const running = run()
  return {
    async stop(patienceMs) {
      stopping = true
      bell.ring()
      const over = running.then(() => Promise.all(sending))
      await Promise.race([over, sleep(patienceMs, undefined, { ref: false })])
      cutting.abort()
      // What a ledger that does not answer is not told, is due again when its lease is over.
      await Promise.race([over, sleep(NOTING_MS, undefined, { ref: false })])
    },
  }
}

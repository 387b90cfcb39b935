import type { EventEmitter } from 'node:events'
import type { Operation } from './operation.ts'
import type { S3Request } from './request-log.ts'

/** What happens to a request. Several may happen to one: a delay, and then a lost answer. */
export interface Fault {
  /** The request waits before it is forwarded, or answered by the proxy. */
  delayMs?: number
  /** An answer of the proxy's own; S3 never sees the request. With status 200 its body is an error all the same. */
  answer?: { status: number; code: string; headers?: Record<string, string> }
  /** The connection is reset after so many bytes of the request's body; with 0 S3 sees nothing of it. */
  resetAfterBytes?: number
  /** The body of the request is forwarded no faster. */
  bytesPerSecond?: number
  /** S3 does what it is asked; its answer gets lost, and the connection is reset. */
  loseAnswer?: true
  /** The request, or the answer to it, is held until `release` is called. */
  hold?: 'request' | 'answer'
  /** The connection ends after so many bytes of the answer's body. */
  truncateAfterBytes?: number
}

/** A fault, and the requests that it happens to: those that fit in all that is given. */
export interface Rule extends Fault {
  operation?: Operation | readonly Operation[]
  method?: string
  /** looked for in path and query */
  url?: RegExp
  /** how many requests that fit go by before it takes effect; 0 by default */
  skip?: number
  /** how many times it takes effect; always by default */
  times?: number
}

export interface AddedRule {
  /** how many times it took effect */
  hits(): number
  remove(): void
}

export interface Rules {
  /** Of several rules that fit, the one that was added first counts. */
  add(rule: Rule): AddedRule
  clear(): void
  faultFor(request: S3Request & { url: string }): Fault | null
}

export function newRules(): Rules {
  const active = new Set<{ rule: Rule; skipped: number; hits: number }>()
  return {
    add(rule) {
      const entry = { rule, skipped: 0, hits: 0 }
      active.add(entry)
      return { hits: () => entry.hits, remove: () => void active.delete(entry) }
    },
    clear: () => active.clear(),
    faultFor(request) {
      for (const entry of active) {
        const { skip = 0, times = Number.POSITIVE_INFINITY } = entry.rule
        if (entry.hits >= times || !fits(entry.rule, request)) continue
        if (entry.skipped < skip) {
          entry.skipped += 1
          continue
        }
        entry.hits += 1
        return entry.rule
      }
      return null
    },
  }
}

const fits = ({ operation, method, url }: Rule, request: S3Request & { url: string }) =>
  (operation === undefined || [operation].flat().includes(request.operation as Operation)) &&
  (method === undefined || method === request.method) &&
  (url === undefined || url.test(request.url))

export interface Held {
  /** Resolves with the next release, or when the client is gone. */
  wait(client: EventEmitter): Promise<void>
  release(): void
  /** how many wait */
  count(): number
}

export function newHeld(): Held {
  const waiting = new Set<() => void>()
  return {
    wait: (client) =>
      new Promise((resolve) => {
        const go = () => {
          waiting.delete(go)
          resolve()
        }
        waiting.add(go)
        client.once('close', go)
      }),
    release() {
      for (const go of waiting) go()
    },
    count: () => waiting.size,
  }
}

import { setImmediate } from 'node:timers/promises'
import type { Body, Turn } from '../../src/core/ports/body.ts'

export interface BodyOptions {
  /** bytes a piece; a batch has as many as fit */
  pieceBytes?: number
  /** bytes after which the body is broken */
  breaksAfter?: number
  /** runs before a batch is handed out */
  before?: () => void
}

/** A body in memory, which tells how it was taken. */
export function bodyOf(
  bytes: Uint8Array,
  { pieceBytes = 65_536, breaksAfter = Infinity, before = () => {} }: BodyOptions = {},
) {
  const end = Math.min(bytes.length, breaksAfter)
  let at = 0
  let cause: Error | null = null
  const body = {
    length: bytes.length,
    /** what `take` was asked for, each time */
    asked: [] as number[],
    /** whether somebody waits for bytes */
    waiting: false,
    left: () => end - at,
    get cause() {
      return cause
    },
    async take(maxBytes: number) {
      body.asked.push(maxBytes)
      body.waiting = true
      await setImmediate()
      before()
      body.waiting = false
      if (at === end) {
        if (breaksAfter < bytes.length) cause = new Error('the client is gone')
        return null
      }
      const until = Math.min(end, at + maxBytes)
      const batch: Uint8Array[] = []
      for (; at < until; at += (batch.at(-1) as Uint8Array).length)
        batch.push(bytes.subarray(at, Math.min(until, at + pieceBytes)))
      return batch
    },
    idle: () => false,
    stop: (why: Error) => {
      cause = why
    },
  } satisfies Body & Record<string, unknown>
  return body
}

/** A turn that is free at once. It counts, and complains about a use that makes no sense. */
export function turnOf() {
  let inside = false
  const turn = {
    entered: 0,
    inside: () => inside,
    enter() {
      if (inside) throw new Error('entered twice')
      inside = true
      turn.entered += 1
      return undefined
    },
    leave() {
      if (!inside) throw new Error('left without having entered')
      inside = false
    },
  } satisfies Turn & Record<string, unknown>
  return turn
}

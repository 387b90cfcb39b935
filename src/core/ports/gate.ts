import type { Turn } from './body.ts'

/** Admission of bodies and the schedule of writes. */
export interface Gate {
  /** @throws {HttpError} throttled 429 with its reason; the body is unread then */
  admit(ownerId: string, uploadId: string): Admission
  /**
   * Like `admit`, but where as many bodies are open as may be, it waits for a place instead, for a while.
   * @throws {HttpError} throttled 429 with any other reason
   */
  admitInTurn(ownerId: string, uploadId: string): Admission | Wait
}

/** A body that waits to be admitted, unread: TCP holds its client back. */
export interface Wait {
  /** rejects with throttled 429 when no place came free in time, or with what it was given up for */
  readonly admitted: Promise<Admission>
  /** Leaves the queue, unless it is over. */
  giveUp(why: Error): void
}

export interface Admission extends Turn {
  /** Must be called, once, when the body is done with. */
  release(): void
}

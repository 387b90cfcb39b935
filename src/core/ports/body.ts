/** A request body that is pulled: what is not taken stays with the client. */
export interface Body {
  /** announced by Content-Length; null when chunked */
  readonly length: number | null
  /** At least one byte and at most `maxBytes`, to be used before the next `take`; null when no more will come. */
  take(maxBytes: number): Promise<Uint8Array[] | null>
  /** Why no more will come; null after a proper end, and before any end. */
  readonly cause: Error | null
  /** Whether we have been waiting for a byte for too long; holding the client back does not count. */
  idle(): boolean
  /** Ends it here, unless it has ended: what arrived is still given out, then `take` answers null with this cause. */
  stop(cause: Error): void
}

/** The right to one write at a time. */
export interface Turn {
  /** undefined when a worker slot was free: no promise for the common case */
  enter(): Promise<void> | undefined
  leave(): void
}

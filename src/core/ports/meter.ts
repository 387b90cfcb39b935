import type { ThrottleReason } from '../errors.ts'
import type { Dialect } from '../upload.ts'

/** What is worth counting. Bounded labels only. */
export interface Meter {
  bytesStored(bytes: number, dialect: Dialect): void
  chunkStored(dialect: Dialect): void
  /** a body was read by the fast lane, or by the HTTP parser */
  bodyOpened(way: 'lane' | 'parser'): void
  chunkFailed(dialect: Dialect): void
  uploadCreated(dialect: Dialect): void
  uploadCompleted(dialect: Dialect): void
  uploadExpired(): void
  throttled(reason: ThrottleReason): void
  /** Seconds of one commit, from its call to its durability. */
  ledgerUpdate(seconds: number): void
  /** A request to the storage that is tried again. */
  storeRetried(operation: string): void
  /** Seconds of one write to the storage that succeeded. */
  storePut(seconds: number): void
}

import type { ThrottleReason } from './errors.ts'
import type { Cell, Dialect, NewUpload, Status, Upload } from './upload.ts'

/** The truth: what every upload is, and which of its bytes count. */
export interface UploadLedger {
  create(upload: NewUpload): Promise<Upload>
  /**
   * Creates the upload that parts make: every byte counted, FINALIZING. One `key` is given out once:
   * the second to come gets the first one's upload.
   */
  createFinal(upload: NewUpload & { size: number }, key: string): Promise<Upload>
  /** the upload that `key` was given out for, unless it was deleted since */
  findFinal(key: string): Promise<Upload | null>
  /** in any order; ids that `get` answers null for are left out */
  getAll(ids: readonly string[]): Promise<Upload[]>
  /** null for an id that was never given out, was deleted, or whose tombstone is gone */
  get(id: string): Promise<Upload | null>
  /** the caller's own, newest first; `cursor` is the last answer's `nextCursor` */
  list(query: ListQuery): Promise<{ uploads: Upload[]; nextCursor: string | null }>
  /** the committed bytes of one cell; null when none are */
  cell(id: string, index: number): Promise<Cell | null>
  /** indexes of the whole cells, ascending */
  storedCells(id: string): Promise<number[]>
  /** Makes written bytes count: all of `commit` or nothing. Once it resolves, no crash of the process undoes it. */
  commit(commit: Commit): Promise<Committed>
  /**
   * Declares a deferred length, once. Refused when one is declared, when more bytes are committed than
   * that, or when the upload takes no more. May be the last that a full upload waited for.
   */
  declareSize(id: string, size: number, at: Date, whenFull: Commit['whenFull']): Promise<Committed>
  /** Gives up the committed bytes of one cell of an open upload; false when the upload isn't open. */
  freeCell(id: string, index: number, at: Date): Promise<boolean>
  /**
   * Compare-and-set along the state machine: true for exactly one caller. To FINALIZING or
   * COMPLETED only when every cell is whole. To FAILED with a `reason`.
   */
  transition(id: string, to: Status, at: Date, reason?: string): Promise<boolean>
  /** Hides the upload for good (`get` answers null); an open one is ABORTED. False when there is none. */
  markDeleted(id: string, at: Date): Promise<boolean>
  /** Drops the rows of an upload whose bytes are gone. Idempotent. */
  purge(id: string): Promise<void>
  /** Lets open uploads live until `at`, and no longer. */
  setExpiry(ids: readonly string[], at: Date): Promise<void>
  /** Open uploads past their expiry, oldest first. */
  expired(now: Date, limit: number): Promise<Upload[]>
  /** Makes an open upload that is still past its expiry EXPIRING: exactly one caller gets true. */
  expire(id: string, now: Date): Promise<boolean>
  /** Ids to clean up: deleted ones whose rows are left, and tombstones older than `tombstonesBefore`. */
  leftovers(tombstonesBefore: Date, limit: number): Promise<string[]>
  /** Uploads on the way out of an internal status, those that expire first before others. */
  inStatus(status: 'FINALIZING' | 'EXPIRING', limit: number): Promise<Upload[]>
  /** @throws when the database does not answer */
  check(): Promise<void>
  close(): Promise<void>
}

export interface ListQuery {
  ownerId: string
  status?: Status
  limit: number
  cursor?: string
}

/** Bytes of one cell, from its start: it must have `from` committed bytes now, and has `to` after. */
export interface CellCommit {
  index: number
  from: number
  to: number
  whole: boolean
  sha256?: string
  etag?: string
  retries?: number
}

export interface Commit {
  id: string
  cells: CellCommit[]
  /** where the PATCH ended that this commit belongs to; null for a chunk */
  appendOffset: number | null
  at: Date
  /** An unfinished upload lives until then. */
  expiresAt: Date
  /** The status to take once every cell is whole; null to wait for `complete`. */
  whenFull: 'FINALIZING' | 'COMPLETED' | null
}

/**
 * `ok`: the bytes count; `upload` is the row after it, `reached` the status this very commit moved
 * it to (exactly one commit of an upload gets it). Not `ok`: the upload is closed, gone or unknown,
 * or a cell did not have `from` bytes; nothing changed and `upload` is the row as it is.
 */
export type Committed =
  | { ok: true; upload: Upload; reached: Status | null }
  | { ok: false; upload: Upload | null }

/** A request body that is pulled: what is not taken stays with the client. */
export interface Body {
  /** announced by Content-Length; null when chunked */
  readonly length: number | null
  /** At least one byte and at most `maxBytes`; null when no more will come. */
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

/** Holds bytes; what counts is the ledger's business. */
export interface ChunkStore {
  readonly name: string
  /** Writes at most `length` bytes of the body at their absolute place. A broken body or a failed write is a result. */
  writeAt(write: Write): Promise<Written>
  /** Reads at most `length` bytes of the body and compares them with what is stored at the place. */
  compareAt(write: Write): Promise<Written & { same: boolean }>
  /** Makes one object of the cells. Absent where cells are in place from the start. */
  finalize?(upload: Upload): Promise<void>
  /** Writes the parts one behind the other, as the target's bytes. May be broken off and done again. */
  concat(target: Upload, parts: readonly Upload[]): Promise<void>
  /** The bytes from `start` up to but not including `end`. */
  read(upload: Upload, range: { start: number; end: number }): AsyncIterable<Uint8Array>
  /** Idempotent. */
  remove(id: string): Promise<void>
  /** @throws when bytes can't be stored or read right now */
  check(): Promise<void>
}

export interface Write {
  upload: Upload
  position: number
  length: number
  body: Body
  turn: Turn
  /** sees every byte in order, as it is written */
  digest?: Digest
}

export interface Digest {
  update(bytes: Uint8Array): unknown
}

/** `bytes` are in place even when `failure` tells why there are no more. */
export interface Written {
  bytes: number
  /** the store's own failure; a body that broke off tells in `body.cause` */
  failure: Error | null
}

/** Who holds a place, and how to make it go. */
export interface Holder {
  idle(): boolean
  yield(): void
}

/** Writers of one place take turns; an idle writer gives way. */
export interface Locker {
  /**
   * `place` is a cell's index, or 'append' for the one PATCH of an upload.
   * @returns the release
   * @throws {HttpError} locked 423: at once with `wait: false` when the holder is healthy, else after a while
   */
  acquire(id: string, place: number | 'append', holder: Holder, wait: boolean): Promise<() => void>
  /** Whether a writer holds a place of the upload and is not idle. */
  busy(id: string): boolean
  /** Makes every writer of the upload give way, and resolves when they have. */
  drain(id: string): Promise<void>
}

/** Admission of bodies and the schedule of writes. */
export interface Gate {
  /** @throws {HttpError} throttled 429 with its reason; the body is unread then */
  admit(ownerId: string, uploadId: string): Admission
}

export interface Admission extends Turn {
  /** Must be called, once, when the body is done with. */
  release(): void
}

/** What is worth counting. Bounded labels only. */
export interface Meter {
  bytesStored(bytes: number, dialect: Dialect): void
  chunkStored(dialect: Dialect): void
  chunkFailed(dialect: Dialect): void
  uploadCreated(dialect: Dialect): void
  uploadCompleted(dialect: Dialect): void
  uploadExpired(): void
  throttled(reason: ThrottleReason): void
  /** Seconds of one commit, from its call to its durability. */
  ledgerUpdate(seconds: number): void
}

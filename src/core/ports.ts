import type { HttpError, ThrottleReason } from './errors.ts'
import type { Cell, Dialect, NewUpload, Status, Upload } from './upload.ts'

/** What a store asks and tells the ledger of an upload's bytes. */
export interface StorageNotes {
  /** every cell that has committed bytes, ascending */
  cells(id: string): Promise<Cell[]>
  /**
   * Notes the store's own name for an upload that is not finished, once.
   * @returns the name that counts, maybe another's; null when the upload is gone or finished
   */
  claimStorageId(id: string, storageId: string): Promise<string | null>
  /** Notes, before the first of them is written, that bytes may lie beside their final place. */
  markStaged(id: string): Promise<void>
}

/**
 * The truth: what every upload is, and which of its bytes count. Whatever would take an owner over the quota
 * is refused with payload_too_large 413.
 */
export interface UploadLedger extends StorageNotes {
  create(upload: NewUpload): Promise<Upload>
  /**
   * Creates the upload and notes what its key stands for, both or neither. Who comes second with a key
   * waits for the first.
   * @returns null; or what the key stood for already, and nothing is created
   */
  createOnce(upload: NewUpload, done: Done): Promise<Done | null>
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
  /** The upload as `get` answers it, and what the key stands for at `now`, in one look. */
  look(id: string | null, key: Key, now: Date): Promise<{ upload: Upload | null; done: Done | null }>
  /** Notes what a key stands for from `now` on; false when it stands for something already. */
  note(done: Done, now: Date): Promise<boolean>
  /** Forgets keys whose time is over, `limit` at most. @returns how many */
  forget(now: Date, limit: number): Promise<number>
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
  /**
   * Gives up the committed bytes of one cell of an open upload; false when the upload isn't open or a
   * fence has fallen.
   */
  freeCell(id: string, index: number, at: Date, fences?: readonly Fence[]): Promise<boolean>
  /**
   * Compare-and-set along the state machine: true for exactly one caller, and for none whose fence has
   * fallen. To FINALIZING or COMPLETED only when every cell is whole. To FAILED with a `reason`.
   */
  transition(id: string, to: Status, at: Date, reason?: string, fences?: readonly Fence[]): Promise<boolean>
  /** Hides the upload for good (`get` answers null); an open one is ABORTED. @returns it; null when there is none */
  markDeleted(id: string, at: Date): Promise<Upload | null>
  /** Drops the rows of an upload whose bytes are gone. Idempotent. */
  purge(id: string): Promise<void>
  /** Lets open uploads live until `at`, and no longer. */
  setExpiry(ids: readonly string[], at: Date): Promise<void>
  /** Open uploads past their expiry, oldest first. */
  expired(now: Date, limit: number): Promise<Upload[]>
  /** Makes an open upload that is still past its expiry EXPIRING: exactly one caller gets true. */
  expire(id: string, now: Date): Promise<boolean>
  /** What is to be cleaned up: deleted uploads whose rows are left, and tombstones older than `tombstonesBefore`. */
  leftovers(tombstonesBefore: Date, limit: number): Promise<Upload[]>
  /** Uploads on the way out of an internal status, those that expire first before others. */
  inStatus(status: 'FINALIZING' | 'EXPIRING', limit: number): Promise<Upload[]>
  /** Keeps `fresh` unless a key is kept already. @returns the one that all servers sign with */
  signingKey(fresh: SigningKey): Promise<SigningKey>
  /** Has what owners take of their quota counted again, when it is needed: some may have got uploads without one. */
  forgetUsage(): Promise<void>
  /** @throws when the database does not answer */
  check(): Promise<void>
  close(): Promise<void>
}

/** What links and tokens are signed with. */
export interface SigningKey {
  /** stands in what was signed with it; letters, digits, _ and - */
  readonly id: string
  readonly secret: string
}

/** An Idempotency-Key, as its owner chose it. */
export interface Key {
  ownerId: string
  key: string
}

/** A request that is done once, however often it comes. */
export interface Once extends Key {
  /** of what it asks for: SHA-256, hex */
  fingerprint: string
}

/** That it was done. */
export interface Done extends Once {
  /** JSON; null where the answer follows from the request */
  answer: string | null
  /** The key stands for it until then. */
  expiresAt: Date
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
  /** of the bytes up to `to`, hex */
  sha256?: string
  /** how the store finds the bytes up to `to` */
  ref?: string
  retries?: number
}

/** Proof of a right to write, which another writer's takeover makes void. */
export interface Fence {
  place: Place
  token: string
}

export interface Commit {
  id: string
  cells: CellCommit[]
  /** all must still hold */
  fences?: readonly Fence[]
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
 * or a cell did not have `from` bytes, or a fence has fallen, or `refusal` tells why; nothing changed and `upload` is the row as it is.
 */
export type Committed =
  | { ok: true; upload: Upload; reached: Status | null }
  | { ok: false; upload: Upload | null; refusal?: HttpError }

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

/** Holds bytes; what counts is the ledger's business. */
export interface ChunkStore {
  readonly name: string
  /** The longest cell that it takes. Absent where there is no limit. */
  readonly maxChunkBytes?: number
  /** Writes at most `length` bytes of the body at their absolute place. A broken body or a failed write is a result. */
  writeAt(write: Write): Promise<Written>
  /** How a body's cells are written several at a time. Absent where nothing is gained by it. */
  readonly ahead?: WritesAhead
  /** Reads at most `length` bytes of the body, which are what is committed of the cell, and compares them with it. */
  compareAt(write: Write): Promise<Written & { same: boolean }>
  /** Makes one object of the cells; may be broken off and done again. Absent where cells are in place from the start. */
  finalize?(upload: Upload): Promise<void>
  /** Drops what `refs` name and no cell does any more. What it can't drop now, `finalize` and `remove` do. */
  discard?(upload: Upload, refs: readonly string[]): void
  /**
   * Writes the parts one behind the other, as the target's bytes. May be broken off and done again. It
   * may be that the parts take no more bytes then.
   */
  concat(target: Upload, parts: readonly Upload[]): Promise<void>
  /**
   * The bytes from `start` up to but not including `end`. What one `next()` gives stays as it is until the
   * following one, or `return()`.
   */
  read(upload: Upload, range: { start: number; end: number }): AsyncIterable<Uint8Array>
  /** A URL that gives the bytes to whoever has it, for a short time. Absent where downloads go through us. */
  presign?(upload: Upload, headers: PresentedAs): Promise<string>
  /** Removes every byte of it, counted or not. Idempotent. */
  remove(upload: Upload): Promise<void>
  /** How many bytes more it may take, as of a moment ago. Absent where there is no such bound. */
  freeBytes?(): Promise<number>
  /** @throws when bytes can't be stored or read right now */
  check(): Promise<void>
}

/** What the answer to a download is to say of the file. */
export interface PresentedAs {
  contentType: string
  contentDisposition: string
  cacheControl: string
}

export interface Write {
  upload: Upload
  /** Position and length lie within one cell. */
  position: number
  length: number
  /** what is committed of that cell; null for nothing */
  stored: Cell | null
  body: Body
  turn: Turn
  /** sees every byte in order, as it is written */
  digest?: Digest
  /** Fewer than `length` bytes will never be committed: they need not be in place. */
  allOrNothing?: boolean
}

/** Writing whose bytes are taken first, and are on their way while the next cells' bytes are taken. */
export interface WritesAhead {
  /** cells of one body that may be on their way while the next is taken */
  readonly cells: number
  /** Does what `writeAt` does, and resolves once it takes no more of the body. Never rejects, nor does `written`. */
  takeAt(write: Write): Promise<Taken>
}

/** `bytes` were taken of the body; `written` tells what came of them. */
export interface Taken {
  bytes: number
  written: Promise<Written>
}

export interface Digest {
  update(bytes: Uint8Array): unknown
}

/** `bytes` are in place (unless all or nothing was asked for, and they are not all) even when `failure` tells why there are no more. */
export interface Written {
  bytes: number
  /** the store's own failure; a body that broke off tells in `body.cause` */
  failure: Error | null
  /** for the ledger, of the cell's bytes up to the last one that is in place */
  ref?: string
  sha256?: string
  /** tries that it took beyond the first */
  retries?: number
}

/** Who holds a place, and how to make it go. */
export interface Holder {
  idle(): boolean
  yield(): void
}

/** A cell's index, 'append' for the one PATCH of an upload, or the work on it that only one may do. */
export type Place = number | 'append' | 'finish' | 'reap'

/** A place that is ours until it is released or lost. */
export interface Hold {
  /** What a commit under it brings along; null where no other process could take it. */
  readonly fence: Fence | null
  /** false once it is lost, or may be: nothing may be written under it any more */
  held(): boolean
  /** Once it resolves, the next to come finds the place free. Never rejects. */
  release(): Promise<void>
}

/** Writers of one place take turns; an idle writer gives way. A holder whose place is lost is told to yield. */
export interface Locker {
  /** @throws {HttpError} locked 423: at once with `wait: false` when the holder is healthy, else after a while */
  acquire(id: string, place: Place, holder: Holder, wait: boolean): Promise<Hold>
  /** Whether a writer holds a cell or the append of the upload and is not idle. */
  busy(id: string): Promise<boolean>
  /** Makes every writer of the upload give way, and resolves when they have. */
  drain(id: string): Promise<void>
}

/** A place as this process holds it before others: every taking has a token of its own. */
export interface Lease extends Fence {
  id: string
}

/** What others see of a lease. */
export interface LeaseState {
  place: Place
  token: string
  /** by the database's clock; 0 or less once anybody may take the place */
  expiresInMs: number
  /** whether the holder waits for a byte that does not come */
  idle: boolean
}

/**
 * Who of several processes holds what. One of these speaks for one process. Takings and fences are
 * settled one after the other: no commit slips in behind a taking that it should have lost to.
 */
export interface Leases {
  /**
   * Takes a place that is free, whose lease has expired, or that this process left without a word.
   * @returns null once it is ours, else how it is held
   */
  take(lease: Lease, ttlMs: number): Promise<LeaseState | null>
  /** Prolongs leases. @returns those that are still ours, by token, and whether somebody wants the place */
  renew(leases: readonly (Lease & { idle: boolean })[], ttlMs: number): Promise<Map<string, boolean>>
  /** Once it resolves the place is free, if it was still ours. */
  release(lease: Lease): Promise<void>
  /** Asks the holder of a lease to give way: its next renewal tells it. */
  ask(lease: Lease): Promise<void>
  /** how other processes hold places of an upload; what has expired is left out */
  elsewhere(id: string): Promise<LeaseState[]>
  /** Makes expired leases void: of an upload, or all that have been expired for `ms`. */
  sweep(which: { id: string } | { ms: number }): Promise<void>
}

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

/** What a store does for an upload, as it is counted. */
export type StoreOperation = 'write' | 'compare' | 'finalize' | 'concat' | 'remove' | 'presign'

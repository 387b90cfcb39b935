import type { HttpError } from '../errors.ts'
import type { Cell, NewUpload, Status, Upload } from '../upload.ts'
import type { Fence } from './locker.ts'

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

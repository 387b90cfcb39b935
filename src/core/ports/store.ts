import type { Cell, Upload } from '../upload.ts'
import type { Body, Turn } from './body.ts'

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
  /** sees every byte in order, while it is written; so of a write that fails perhaps more than are in place */
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
  /** Takes the next bytes. Where it gives a promise, they must stay as they are until that resolves; it never rejects. */
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

/** What a store does for an upload, as it is counted. */
export type StoreOperation = 'write' | 'compare' | 'finalize' | 'concat' | 'remove' | 'presign'

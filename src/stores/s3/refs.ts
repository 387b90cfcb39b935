import { randomBytes } from 'node:crypto'

/**
 * Where the bytes of a cell are, as the ledger keeps it: a part of the multipart upload, an object of
 * their own beside the file's, or the object of the file itself. ETags are kept as S3 gives them.
 */
export type Ref =
  | { kind: 'part'; etag: string }
  | { kind: 'staged'; name: string }
  | { kind: 'object'; etag: string }

export const printRef = (ref: Ref): string => `${ref.kind} ${ref.kind === 'staged' ? ref.name : ref.etag}`

/** null for what is no ref of this store */
export function parseRef(text: string | null): Ref | null {
  const [, kind, rest = ''] = /^(part|staged|object) (.+)$/.exec(text ?? '') ?? []
  if (kind === 'staged') return { kind, name: rest }
  return kind === 'part' || kind === 'object' ? { kind, etag: rest } : null
}

export interface Keys {
  /** of the file */
  object(id: string): string
  /** what the keys of all its staged pieces begin with */
  staged(id: string): string
  piece(id: string, name: string): string
}

/** An id is a UUID, so that no key of one upload begins with a key of another. */
export const keysUnder = (prefix: string): Keys => ({
  object: (id) => prefix + id,
  staged: (id) => `${prefix}staged/${id}/`,
  piece: (id, name) => `${prefix}staged/${id}/${name}`,
})

/** A name for the first `bytes` of a cell, which nobody has used and nobody will. */
export const newPieceName = (cell: number, bytes: number): string =>
  `${cell}-${bytes}-${randomBytes(9).toString('base64url')}`

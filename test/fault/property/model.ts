import { bytesOf, sha256 } from '../../support/bytes.ts'

/** CHUNK_SIZE_BYTES and MAX_UPLOAD_BYTES of the server under test: a few KB make several cells. */
export const CHUNK = 1000
export const MAX_UPLOAD = 20_000

/** How many bytes of a cell are committed. They differ while nobody knows what became of a request. */
export interface Cell {
  least: number
  most: number
}

/** What we know of an upload: what was acknowledged, and what can have been stored at most. */
export interface Upload {
  readonly name: string
  readonly id: string
  readonly dialect: 'tus' | 'native'
  readonly kind: 'plain' | 'partial' | 'final'
  readonly chunkSize: number
  /** null while the length is deferred */
  size: number | null
  /** a length that a request declared whose answer we don't know */
  maybeSize: number | null
  /** the client's file: as long as an upload may be, though only `size` bytes of it are sent */
  readonly file: Buffer
  /** what the server has, where the cells say that it has something */
  readonly stored: Buffer
  readonly cells: Map<number, Cell>
  /** the SHA-256 that `init` announced */
  readonly announced: string | null
  completed: boolean
  /** whether a request whose outcome we don't know may have completed an upload of init */
  mayComplete: boolean
  /** whether any byte was ever sent that may have counted */
  begun: boolean
  /** where the last PATCH ended, in front of cells that were there already: going on from there works */
  appendEnd: number | null
  /** from here on a PATCH may or may not be taken, since we don't know where the last one ended */
  maybeAppendFrom: number
  /** ids of requests that may still be at work on it */
  readonly pending: string[]
}

export interface Model {
  /** the uploads that are there */
  uploads: Upload[]
  /** by the ids that each was made of */
  finals: Map<string, Upload>
  /** how many were made */
  made: number
}

export const emptyModel = (): Model => ({ uploads: [], finals: new Map(), made: 0 })

type Fresh = Pick<Upload, 'id' | 'dialect' | 'kind' | 'chunkSize' | 'size'> &
  Partial<Pick<Upload, 'announced' | 'stored'>>

/** The bytes of the client's file number `index`: a fixed function of the file and the place. */
export const fileOf = (index: number): Buffer => bytesOf(MAX_UPLOAD, 1000 + index)

export function addUpload(model: Model, fresh: Fresh): Upload {
  const file = fileOf(model.made)
  const upload: Upload = {
    name: `u${model.made}`,
    announced: null,
    stored: Buffer.from(file),
    ...fresh,
    file,
    maybeSize: null,
    cells: new Map(),
    completed:
      fresh.kind === 'final' || (fresh.dialect === 'tus' && fresh.kind === 'plain' && fresh.size === 0),
    mayComplete: false,
    begun: false,
    appendEnd: null,
    maybeAppendFrom: Number.POSITIVE_INFINITY,
    pending: [],
  }
  model.made += 1
  model.uploads.push(upload)
  return upload
}

export function dropUpload(model: Model, upload: Upload): void {
  model.uploads = model.uploads.filter((other) => other !== upload)
  for (const [key, final] of model.finals) if (final === upload) model.finals.delete(key)
}

/** Other bytes than the file's, at every place. */
export const otherBytes = (bytes: Buffer): Buffer => Buffer.from(bytes.map((byte) => byte ^ 0xff))

export const countOf = ({ size, chunkSize }: Upload): number | null =>
  size === null ? null : Math.ceil(size / chunkSize)

export const cellOf = ({ cells }: Upload, index: number): Cell => cells.get(index) ?? { least: 0, most: 0 }

/** `end` doesn't count. */
export function placeOf(
  { chunkSize, size }: Upload,
  index: number,
): { start: number; end: number; length: number } {
  const start = index * chunkSize
  const end = Math.min(start + chunkSize, size ?? Number.POSITIVE_INFINITY)
  return { start, end, length: end - start }
}

/** The committed prefix: as short as it can be, or as long. */
export function prefixOf(upload: Upload, which: 'least' | 'most'): number {
  if (upload.kind === 'final') return upload.size ?? 0
  const count = countOf(upload) ?? Number.POSITIVE_INFINITY
  for (let index = 0; index < count; index++) {
    const bytes = cellOf(upload, index)[which]
    const { start, length } = placeOf(upload, index)
    if (bytes < length) return start + bytes
  }
  return upload.size ?? 0
}

export function isWhole(upload: Upload, index: number, which: 'least' | 'most' = 'least'): boolean {
  return cellOf(upload, index)[which] >= placeOf(upload, index).length
}

export function isFull(upload: Upload, which: 'least' | 'most' = 'least'): boolean {
  return upload.size !== null && prefixOf(upload, which) === upload.size
}

/** The end of the furthest byte that is surely there. */
export const storedEnd = (upload: Upload): number =>
  Math.max(
    0,
    ...[...upload.cells].map(([index, { least }]) => (least > 0 ? placeOf(upload, index).start + least : 0)),
  )

export const completesByItself = ({ dialect, kind }: Upload): boolean => dialect === 'tus' && kind === 'plain'

export const contentOf = (upload: Upload): Buffer => upload.stored.subarray(0, upload.size ?? 0)

export const checksumHolds = (upload: Upload): boolean =>
  upload.announced === null || sha256(contentOf(upload)) === upload.announced

/** Cells that the bytes from `from` up to `to` fall into. */
export function cellsBetween({ chunkSize }: Upload, from: number, to: number): number[] {
  const indexes: number[] = []
  for (let index = Math.floor(from / chunkSize); index * chunkSize < to; index++) indexes.push(index)
  return indexes
}

/** The file's bytes from `from` up to `to` are stored, or may be. */
export function storeRange(upload: Upload, from: number, to: number, sure: boolean): void {
  if (to > from) upload.begun = true
  for (const index of cellsBetween(upload, from, to)) {
    const { start, end } = placeOf(upload, index)
    const reached = Math.min(end, to) - start
    const { least, most } = cellOf(upload, index)
    upload.cells.set(index, { least: sure ? Math.max(least, reached) : least, most: Math.max(most, reached) })
  }
}

/** A whole cell of these bytes is stored. */
export function storeCell(upload: Upload, index: number, bytes: Buffer): void {
  upload.begun = true
  bytes.copy(upload.stored, placeOf(upload, index).start)
  upload.cells.set(index, { least: bytes.length, most: bytes.length })
}

export function freeCell(upload: Upload, index: number): void {
  upload.cells.delete(index)
  const { start } = placeOf(upload, index)
  upload.file.copy(upload.stored, start, start, start + upload.chunkSize)
  if (upload.appendEnd !== null && upload.appendEnd > prefixOf(upload, 'least')) upload.appendEnd = null
}

/** What an upload completes by itself with: its last cell. */
export function settleCompletion(upload: Upload): void {
  if (completesByItself(upload) && isFull(upload)) upload.completed = true
}

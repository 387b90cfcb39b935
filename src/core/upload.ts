import { HttpError } from './errors.ts'

/**
 * INITIATED (no byte yet) → IN_PROGRESS → FINALIZING → COMPLETED. FAILED and ABORTED are final.
 * Two are ours alone, closed to writers and finished by any process after a crash: FINALIZING, shown to
 * clients as IN_PROGRESS, and EXPIRING, whose bytes are on their way out, shown as ABORTED.
 */
export const STATUSES = [
  'INITIATED',
  'IN_PROGRESS',
  'FINALIZING',
  'COMPLETED',
  'FAILED',
  'EXPIRING',
  'ABORTED',
] as const
export type Status = (typeof STATUSES)[number]

/**
 * Where an upload may go from each status. The ledger moves it only by compare-and-set along these; a
 * commit that brings the last byte may take the step through FINALIZING at once.
 */
export const TRANSITIONS: Readonly<Record<Status, readonly Status[]>> = {
  INITIATED: ['IN_PROGRESS', 'FINALIZING', 'FAILED', 'EXPIRING', 'ABORTED'],
  IN_PROGRESS: ['FINALIZING', 'FAILED', 'EXPIRING', 'ABORTED'],
  FINALIZING: ['IN_PROGRESS', 'COMPLETED', 'FAILED'],
  COMPLETED: [],
  FAILED: [],
  EXPIRING: ['ABORTED'],
  ABORTED: [],
}

/** The statuses from which `to` can be reached. */
export const sourcesOf = (to: Status): Status[] => STATUSES.filter((from) => TRANSITIONS[from].includes(to))

/** The statuses in which bytes may still come. */
export const isOpen = (status: Status): boolean => status === 'INITIATED' || status === 'IN_PROGRESS'

const SHOWN_AS = { FINALIZING: 'IN_PROGRESS', EXPIRING: 'ABORTED' } as const
export type PublicStatus = Exclude<Status, keyof typeof SHOWN_AS>

/** The status as clients know it. */
export const publicStatus = (status: Status): PublicStatus =>
  status === 'FINALIZING' || status === 'EXPIRING' ? SHOWN_AS[status] : status

/** The statuses that clients know as `shown`. */
export const statusesShownAs = (shown: Status): Status[] =>
  STATUSES.filter((status) => publicStatus(status) === shown)

export type Dialect = 'tus' | 'native'

/** What an upload is, and which of its bytes count. Sizes, lengths and offsets are bytes. */
export interface Upload {
  readonly id: string
  readonly ownerId: string
  /** Who created it: by tus it completes with its last cell, by `init` it waits for `complete`. */
  readonly dialect: Dialect
  readonly fileName: string
  /** null while the length is deferred */
  readonly size: number | null
  readonly chunkSize: number
  readonly status: Status
  readonly contentType: string | null
  readonly metadata: Readonly<Record<string, unknown>>
  /** `Upload-Concat` as it came: `partial`, or `final;` and the URLs of its parts; null for neither */
  readonly concat: string | null
  /** of the whole file, hex, as the client announced it */
  readonly checksumSha256: string | null
  /** the committed prefix: the run of whole cells from 0 and the committed bytes of the next cell */
  readonly offset: number
  /** the end of the last PATCH where later cells were there already: the client may go on from it */
  readonly appendOffset: number | null
  /** cells that are whole */
  readonly storedCells: number
  /** the store's own name for it, such as S3's multipart upload; null where it has none */
  readonly storageId: string | null
  /** whether bytes of it may lie in the store beside their final place */
  readonly staged: boolean
  readonly createdAt: Date
  readonly updatedAt: Date
  readonly expiresAt: Date
}

export type NewUpload = Pick<
  Upload,
  | 'id'
  | 'ownerId'
  | 'dialect'
  | 'fileName'
  | 'size'
  | 'chunkSize'
  | 'contentType'
  | 'metadata'
  | 'concat'
  | 'checksumSha256'
  | 'createdAt'
  | 'expiresAt'
>

/** A part of a final upload: it never completes, is never downloaded, and expires even when it is full. */
export const isPartial = (upload: Pick<Upload, 'concat'>): boolean => upload.concat === 'partial'

/** Made of other uploads: it takes no bytes of its own. */
export const isFinal = (upload: Pick<Upload, 'concat'>): boolean =>
  upload.concat?.startsWith('final;') ?? false

/** Whether it completes with its last cell, whoever brings that. */
export const completesByItself = (upload: Pick<Upload, 'dialect' | 'concat'>): boolean =>
  upload.dialect === 'tus' && !isPartial(upload)

/** A cell of which bytes are committed, from its start: all of them once it is whole. */
export interface Cell {
  readonly index: number
  readonly bytes: number
  readonly whole: boolean
  /** how the store finds these bytes; null where their place follows from their position */
  readonly ref: string | null
  /** of these bytes, hex; null when nobody computed it */
  readonly sha256: string | null
}

/**
 * Whether bytes may still come.
 * @throws {HttpError} gone 410 for an expired upload, conflict 409 for a finished one
 */
export function assertOpen(upload: Upload, now: Date): void {
  assertNotExpired(upload, now)
  if (isOpen(upload.status)) return
  throw new HttpError('conflict', {
    detail: `The upload is ${publicStatus(upload.status)}${upload.status === 'FINALIZING' ? ' and being completed' : ''}: it takes no more bytes.`,
  })
}

/** Unfinished uploads expire, finished ones don't. */
export const isExpired = ({ status, expiresAt }: Upload, now: Date): boolean =>
  publicStatus(status) === 'ABORTED' || (isOpen(status) && expiresAt <= now)

/** @throws {HttpError} gone 410 */
export function assertNotExpired(upload: Upload, now: Date): void {
  if (isExpired(upload, now)) throw new HttpError('gone')
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** Ids are lower-case UUIDs; anything else is no upload, before it reaches a path, a key or a query. */
export const isUploadId = (id: string): boolean => UUID.test(id)

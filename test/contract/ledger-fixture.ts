import { randomUUID } from 'node:crypto'
import type { CellCommit, Commit, Done, UploadLedger } from '../../src/core/ports/ledger.ts'
import type { LedgerLimits } from '../../src/ledger/ledger.ts'
import type { Db } from '../../src/ledger/open.ts'
import { publicStatus, type NewUpload, type Status, type Upload } from '../../src/core/upload.ts'

/** A ledger on an empty database, and a second one on the same. */
export interface Fixture {
  ledger: UploadLedger
  other: UploadLedger
  /** what each of them stands on */
  dbs: readonly [Db, Db]
  /** One more on the same; whoever asks for it closes it. */
  another(options: LedgerLimits): Promise<UploadLedger>
  close(): Promise<void>
}

export const CHUNK = 10
export const START = new Date('2030-01-01T00:00:00.000Z')
export const EXPIRY = new Date('2030-01-02T00:00:00.000Z')
export const LATER = new Date('2030-01-01T06:00:00.000Z')
export const LATER_EXPIRY = new Date('2030-01-02T06:00:00.000Z')
export const minutesAfter = (date: Date, minutes: number) => new Date(date.getTime() + minutes * 60_000)

export const newUpload = (fields: Partial<NewUpload> = {}): NewUpload => ({
  id: randomUUID(),
  ownerId: 'ada',
  dialect: 'native',
  fileName: 'a.bin',
  size: 45,
  chunkSize: CHUNK,
  contentType: null,
  metadata: {},
  concat: null,
  checksumSha256: null,
  createdAt: START,
  expiresAt: EXPIRY,
  ...fields,
})

/** A request that was done under a key of its own. */
export const doneOf = (fields: Partial<Done> = {}): Done => ({
  ownerId: 'ada',
  key: randomUUID(),
  fingerprint: 'ab'.repeat(32),
  answer: null,
  expiresAt: EXPIRY,
  ...fields,
})

/** The bytes of cell `index` from `from` to `to`. */
export const bytes = (index: number, from: number, to: number): CellCommit => ({
  index,
  from,
  to,
  whole: to === CHUNK,
})

/** A whole cell; the last of 45 bytes has 5. */
export const wholeCell = (index: number, length = index === 4 ? 5 : CHUNK): CellCommit => ({
  index,
  from: 0,
  to: length,
  whole: true,
})

export const commitOf = (id: string, cells: CellCommit[], fields: Partial<Commit> = {}): Commit => ({
  id,
  cells,
  appendOffset: null,
  at: LATER,
  expiresAt: LATER_EXPIRY,
  whenFull: null,
  ...fields,
})

export const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

/** What a commit changes. */
export const progressOf = (upload: Upload | null) =>
  upload && { status: upload.status, offset: upload.offset, storedCells: upload.storedCells }

/** Brings a new upload of 45 bytes, full if it must be, to a status. */
export async function uploadIn(ledger: UploadLedger, status: Status, full: boolean): Promise<string> {
  const { id } = await ledger.create(newUpload())
  if (full)
    await ledger.commit(
      commitOf(
        id,
        range(5).map((index) => wholeCell(index)),
      ),
    )
  else if (status !== 'INITIATED' && publicStatus(status) !== 'ABORTED')
    await ledger.commit(commitOf(id, [bytes(0, 0, 3)]))
  if (status === 'FINALIZING' || status === 'FAILED' || status === 'COMPLETED')
    await ledger.transition(id, 'FINALIZING', LATER)
  if (status === 'COMPLETED' || status === 'FAILED' || publicStatus(status) === 'ABORTED')
    await ledger.transition(id, status, LATER)
  return id
}

/** Whether the ledger takes `size` for the length of an upload. */
export const declares = async (ledger: UploadLedger, id: string, size: number): Promise<boolean> =>
  (await ledger.declareSize(id, size, LATER, null)).ok

import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { onTestFinished } from 'vitest'
import { createLocker } from '../../src/admission/locker.ts'
import type { UploadLedger } from '../../src/core/ports/ledger.ts'
import type { Locker } from '../../src/core/ports/locker.ts'
import type { ChunkStore } from '../../src/core/ports/store.ts'
import { createLedger } from '../../src/ledger/ledger.ts'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openDb, type Db } from '../../src/ledger/open.ts'
import { createMetrics } from '../../src/observe/metrics.ts'
import { createLocalStore } from '../../src/stores/local.ts'
import type { Create } from '../../src/uploads/create.ts'
import { openInlineHash } from '../../src/hashing/inline-hash.ts'
import { createUploads, type Uploads } from '../../src/uploads/use-cases.ts'
import { bodyOf, turnOf } from './body.ts'
import { useFolder } from './folder.ts'

export const DAY = 24 * 3600 * 1000
/** The cell size of what these use cases create. */
export const CELL = 10

export interface Process {
  /** what the test puts in front of the ledger */
  ledgerOf?: (ledger: UploadLedger) => UploadLedger
  lockerOf?: (db: Db) => Locker
}

/**
 * The use cases on a real ledger and a real disk, with a clock that the test sets.
 * @param change what the test puts in front of the store
 * @param at the folder of another process
 */
export async function useUploads(
  change: (store: ChunkStore) => ChunkStore = (store) => store,
  at?: string,
  { ledgerOf = (ledger) => ledger, lockerOf = () => createLocker({ lookMs: 10 }) }: Process = {},
) {
  const root = at ?? (await useFolder())
  const url = `file:${path.join(root, 'uploads.db')}`
  await migrateUp(url)
  const db = await openDb(url)
  const ledger = ledgerOf(createLedger(db))
  onTestFinished(() => ledger.close())
  const clock = { now: new Date('2030-01-01T00:00:00Z') }
  const { meter } = createMetrics()
  const store = change(createLocalStore(path.join(root, 'files')))
  const limits = {
    chunkSizeBytes: CELL,
    maxUploadBytes: 1e9,
    uploadTtlMs: DAY,
    idempotencyTtlMs: DAY,
    maxConcatParts: 10,
    minFreeDiskBytes: 0,
  }
  const locker = lockerOf(db)
  const now = () => clock.now
  const deps = { ledger, store, locker, meter, openHash: openInlineHash, now, expiryNow: now, limits }
  return { uploads: createUploads(deps), deps, ledger, store, clock, root }
}

/** @returns the id of a new upload, by default of tus and with `CELL` bytes a cell */
export async function createUpload(uploads: Uploads, fields: Partial<Create> = {}): Promise<string> {
  const upload = await uploads.create({
    id: randomUUID(),
    ownerId: 'ada',
    dialect: 'tus',
    fileName: 'a',
    size: 25,
    chunkSize: null,
    contentType: null,
    metadata: {},
    concat: null,
    checksumSha256: null,
    ...fields,
  })
  return upload.id
}

export const append = (
  uploads: Uploads,
  id: string,
  bytes: string,
  offset = 0,
  declaredSize: number | null = null,
) =>
  uploads.append({
    id,
    offset,
    declaredSize,
    body: bodyOf(Buffer.from(bytes)),
    turn: turnOf(),
    checksum: null,
  })

export const putChunk = (uploads: Uploads, id: string, index: number, bytes: string) =>
  uploads.putChunk({ id, index, body: bodyOf(Buffer.from(bytes)), turn: turnOf(), sha256: [] })

export const fail = (error: unknown): never => {
  throw error
}

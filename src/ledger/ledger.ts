import { unavailable } from '../core/errors.ts'
import type { EventType } from '../core/events.ts'
import type { UploadLedger } from '../core/ports/ledger.ts'
import type { Fence } from '../core/ports/locker.ts'
import { reservedBytes } from '../core/quota.ts'
import { sourcesOf, type Cell, type Status, type Upload } from '../core/upload.ts'
import { Prisma } from '../generated/sqlite/client.ts'
import { declareSize, freeCell, isCellIndex } from './cell-changes.ts'
import { groupCommit } from './commit.ts'
import { createCreation, findFinal } from './creation.ts'
import type { Dialect } from './dialect.ts'
import { surfacing } from './failures.ts'
import { fencesAmong } from './fences.ts'
import { forget, look, note } from './keys.ts'
import { END_OF_TIME, list, merged } from './list.ts'
import type { Db } from './open.ts'
import { completedBy, createOutbox } from './outbox.ts'
import { createQuota, forgetUsage } from './quota.ts'
import {
  CELL_COLUMNS,
  RETURNED_COLUMNS,
  IS_FULL,
  toCell,
  toUpload,
  UPLOAD_COLUMNS,
  type CellRow,
  type UploadRow,
} from './rows.ts'
import { signingKey } from './signing-key.ts'
import { cells, claimStorageId, markStaged } from './storage-notes.ts'
import type { Client } from './statements.ts'
import { persistently, transactor } from './transaction.ts'

const OPEN = Prisma.sql`('INITIATED', 'IN_PROGRESS')`
/** Values of one statement: SQLite takes 32,766. */
const IDS_PER_STATEMENT = 1000

/** how long a database may take to answer whether it is there */
const CHECK_MS = 5_000

export interface LedgerLimits {
  /** 0 for no quota */
  maxBytesPerUser?: number
  /** who is told what becomes of uploads; null for nobody */
  webhooks?: { urls: readonly string[] } | null
}

/** What is told of an upload that takes one of these steps. */
const TOLD: Partial<Record<Status, EventType>> = {
  COMPLETED: 'upload.completed',
  FAILED: 'upload.failed',
  EXPIRING: 'upload.expired',
}

/** The ledger on a database. It owns the client: `close` disconnects it. */
export function createLedger(
  { client: db, dialect }: Db,
  { maxBytesPerUser = 0, webhooks = null }: LedgerLimits = {},
): UploadLedger {
  const transact = transactor({ client: db, dialect })
  const quota = maxBytesPerUser > 0 ? createQuota(maxBytesPerUser) : null
  const outbox = webhooks ? createOutbox(dialect, webhooks.urls) : null
  const group = groupCommit(transact, dialect, quota, outbox)
  /** A transaction on an upload that nobody else changes until its end. */
  const holding = <T>(id: string, work: (tx: Client, upload: Upload | null) => Promise<T>) =>
    transact(async (tx) => work(tx, await get(tx, id, dialect.forUpdate)))
  /** The same, and what it does to the upload is counted. */
  const counting = <T>(id: string, work: (tx: Client, upload: Upload | null) => Promise<T>) =>
    holding(id, async (tx, upload) => {
      const result = await work(tx, upload)
      if (quota && upload) {
        const byBytes = reservedBytes(await get(tx, id)) - reservedBytes(upload)
        await quota.charge(tx, upload.ownerId, byBytes)
      }
      return result
    })

  const stand = async (tx: Client, id: string, fences: readonly Fence[]) =>
    (await fencesAmong(tx, dialect, [{ id, fences }])).hold({ id, fences })

  /** Tells of a step that this transaction has taken. */
  const tell = async (tx: Client, id: string, to: Status, reason?: string): Promise<void> => {
    const type = TOLD[to]
    const upload = outbox && type ? await get(tx, id) : null
    if (type && upload) await outbox?.record(tx, [{ type, upload, reason }])
  }
  const { creation, idle: created } = createCreation(db, transact, quota, outbox)

  const ledger: UploadLedger = {
    ...creation,
    findFinal: (key) => findFinal(db, key),
    get: (id) => get(db, id),
    getAll: (ids) => getAll(db, ids),
    look: (id, key, now) => look(db, id, key, now),
    note: (done, now) => note(db, done, now),
    forget: (now, limit) => forget(db, dialect, now, limit),
    list: (query) => list(db, query),
    cell: (id, index) => cell(db, id, index),
    cells: (id) => cells(db, id),
    claimStorageId: (id, storageId) => claimStorageId(db, id, storageId),
    markStaged: (id) => markStaged(db, id),
    storedCells: (id) => storedCells(db, id),
    commit: (commit) => group.add(commit),
    declareSize: (id, size, at, whenFull) =>
      counting(id, async (tx, upload) => {
        const declared = await declareSize(tx, upload, size, at, whenFull)
        await outbox?.record(tx, completedBy([declared]))
        return declared
      }),
    freeCell: (id, index, at, fences = []) =>
      counting(id, async (tx, upload) => (await stand(tx, id, fences)) && freeCell(tx, upload, index, at)),
    transition: (id, to, at, reason, fences = []) =>
      fences.length === 0 && !(quota && (to === 'FAILED' || to === 'ABORTED')) && !(outbox && TOLD[to])
        ? transition(db, id, to, at, reason)
        : counting(id, async (tx) => {
            const changed = (await stand(tx, id, fences)) && (await transition(tx, id, to, at, reason))
            if (changed) await tell(tx, id, to, reason)
            return changed
          }),
    markDeleted: (id, at) =>
      quota || outbox
        ? counting(id, async (tx) => {
            const upload = await markDeleted(tx, id, at)
            if (upload) await outbox?.record(tx, [{ type: 'upload.deleted', upload }])
            return upload
          })
        : markDeleted(db, id, at),
    async purge(id) {
      await db.$executeRaw`DELETE FROM uploads WHERE id = ${id}`
    },
    setExpiry: (ids, at) => setExpiry(db, dialect, ids, at),
    expired: (now, limit) => expired(db, now, limit),
    expire: (id, now) => {
      const work = async (tx: Client) => {
        const changed = await expire(tx, id, now)
        if (changed) await tell(tx, id, 'EXPIRING')
        return changed
      }
      return quota ? counting(id, work) : transact(work)
    },
    signingKey: (fresh) => signingKey(db, fresh),
    forgetUsage: () => forgetUsage(db, dialect),
    leftovers: (tombstonesBefore, limit) => leftovers(db, tombstonesBefore, limit),
    inStatus: (status, limit) => inStatus(db, status, limit),
    async check() {
      // A row of a table and not a constant, which SQLite would answer without its file.
      await within(CHECK_MS, db.$queryRaw`SELECT 1 FROM uploads LIMIT 1`)
    },
    async close() {
      await Promise.all([group.idle(), created()])
      await db.$disconnect()
    },
  }
  return surfacing(ledger)
}

/** @throws {HttpError} unavailable 503 when it takes longer */
async function within<T>(ms: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(unavailable('The database does not answer.')), ms)
  })
  try {
    return await Promise.race([answer, late])
  } finally {
    clearTimeout(timer)
  }
}

async function get(db: Client, id: string, forUpdate = Prisma.empty): Promise<Upload | null> {
  const rows = await db.$queryRaw<UploadRow[]>`
    SELECT ${UPLOAD_COLUMNS} FROM uploads u WHERE u.id = ${id} AND u.deleted_at IS NULL ${forUpdate}`
  return rows[0] ? toUpload(rows[0]) : null
}

async function getAll(db: Client, ids: readonly string[]): Promise<Upload[]> {
  const uploads: Upload[] = []
  for (let done = 0; done < ids.length; done += IDS_PER_STATEMENT) {
    const some = ids.slice(done, done + IDS_PER_STATEMENT)
    const rows = await db.$queryRaw<UploadRow[]>`
      SELECT ${UPLOAD_COLUMNS} FROM uploads u WHERE u.id IN (${Prisma.join(some)}) AND u.deleted_at IS NULL`
    uploads.push(...rows.map(toUpload))
  }
  return uploads
}

async function cell(db: Client, id: string, index: number): Promise<Cell | null> {
  if (!isCellIndex(index)) return null
  const rows = await db.$queryRaw<CellRow[]>`
    SELECT ${CELL_COLUMNS} FROM chunks WHERE upload_id = ${id} AND chunk_index = ${index}`
  return rows[0] ? toCell(rows[0]) : null
}

async function storedCells(db: Client, id: string): Promise<number[]> {
  const rows = await db.$queryRaw<{ chunk_index: number }[]>`
    SELECT chunk_index FROM chunks WHERE upload_id = ${id} AND status = 'UPLOADED' ORDER BY chunk_index`
  return rows.map((row) => row.chunk_index)
}

async function transition(db: Client, id: string, to: Status, at: Date, reason?: string): Promise<boolean> {
  const sources = sourcesOf(to)
  if (sources.length === 0) return false
  const needsEveryCell = to === 'FINALIZING' || to === 'COMPLETED'
  // Words of another system may have what no database stores.
  const storable = reason?.replaceAll('\0', '').toWellFormed() ?? null
  const changed = await db.$executeRaw`
    UPDATE uploads SET status = ${to}, updated_at = ${at}, failure_reason = ${storable}
      ${to === 'FAILED' ? Prisma.sql`, concat_key = NULL` : Prisma.empty}
    WHERE id = ${id} AND status IN (${Prisma.join(sources)}) AND deleted_at IS NULL
      ${needsEveryCell ? Prisma.sql`AND ${IS_FULL}` : Prisma.empty}`
  return changed === 1
}

async function markDeleted(db: Client, id: string, at: Date): Promise<Upload | null> {
  const rows = await db.$queryRaw<UploadRow[]>`
    UPDATE uploads SET
      status = CASE WHEN status IN ${OPEN} THEN 'ABORTED' ELSE status END,
      updated_at = ${at}, deleted_at = ${at}, concat_key = NULL
    WHERE id = ${id} AND deleted_at IS NULL
    RETURNING ${RETURNED_COLUMNS}`
  return rows[0] ? toUpload(rows[0]) : null
}

async function setExpiry(
  db: Client,
  { forUpdate }: Dialect,
  ids: readonly string[],
  at: Date,
): Promise<void> {
  const distinct = [...new Set(ids)]
  for (let done = 0; done < distinct.length; done += IDS_PER_STATEMENT) {
    const some = Prisma.join(distinct.slice(done, done + IDS_PER_STATEMENT))
    // Held in the order of every other transaction.
    await persistently(
      () => db.$executeRaw`
        UPDATE uploads SET expires_at = ${at}
        WHERE id IN (SELECT id FROM uploads WHERE id IN (${some}) ORDER BY id ${forUpdate}) AND status IN ${OPEN}`,
    )
  }
}

async function expired(db: Client, now: Date, limit: number): Promise<Upload[]> {
  const expiredIn = (status: Status) => Prisma.sql`
    SELECT ${UPLOAD_COLUMNS} FROM uploads u
    WHERE u.status = ${status} AND u.expires_at <= ${now} AND u.deleted_at IS NULL
    ORDER BY u.expires_at
    LIMIT ${limit}`
  const rows = await db.$queryRaw<UploadRow[]>`
    ${merged([expiredIn('INITIATED'), expiredIn('IN_PROGRESS')])} ORDER BY expires_at LIMIT ${limit}`
  return rows.map(toUpload)
}

async function expire(tx: Client, id: string, now: Date): Promise<boolean> {
  const changed = await tx.$executeRaw`
    UPDATE uploads SET
      status = 'EXPIRING', updated_at = ${now}, stored_chunks = 0, "offset" = 0, append_offset = NULL
    WHERE id = ${id} AND status IN ${OPEN} AND expires_at <= ${now} AND deleted_at IS NULL`
  if (changed === 0) return false
  await tx.$executeRaw`DELETE FROM chunks WHERE upload_id = ${id}`
  return true
}

async function leftovers(db: Client, tombstonesBefore: Date, limit: number): Promise<Upload[]> {
  const deleted = Prisma.sql`
    SELECT ${UPLOAD_COLUMNS} FROM uploads u
    WHERE u.deleted_at <= ${END_OF_TIME} ORDER BY u.deleted_at LIMIT ${limit}`
  // An expired one was aborted after its expiry, so the range is of no effect on it but to use the index.
  const tombstones = Prisma.sql`
    SELECT ${UPLOAD_COLUMNS} FROM uploads u
    WHERE u.status = 'ABORTED' AND u.expires_at < ${tombstonesBefore} AND u.updated_at < ${tombstonesBefore}
      AND u.deleted_at IS NULL
    ORDER BY u.expires_at LIMIT ${limit}`
  const rows = await db.$queryRaw<UploadRow[]>`${merged([deleted, tombstones])} LIMIT ${limit}`
  return rows.map(toUpload)
}

async function inStatus(db: Client, status: Status, limit: number): Promise<Upload[]> {
  const rows = await db.$queryRaw<UploadRow[]>`
    SELECT ${UPLOAD_COLUMNS} FROM uploads u
    WHERE u.status = ${status} AND u.deleted_at IS NULL
    ORDER BY u.expires_at
    LIMIT ${limit}`
  return rows.map(toUpload)
}

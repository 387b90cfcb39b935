import { HttpError } from '../core/errors.ts'
import type { Done, UploadLedger } from '../core/ports/ledger.ts'
import { reservedBytes } from '../core/quota.ts'
import type { NewUpload, Upload } from '../core/upload.ts'
import { Prisma } from '../generated/sqlite/client.ts'
import { surfaced } from './failures.ts'
import { inGroups } from './group.ts'
import { look, note } from './keys.ts'
import type { Outbox } from './outbox.ts'
import type { Quota } from './quota.ts'
import { toUpload, UPLOAD_COLUMNS, type UploadRow } from './rows.ts'
import type { Client } from './statements.ts'
import type { Transact } from './transaction.ts'

type Creation = Pick<UploadLedger, 'create' | 'createOnce' | 'createFinal'>

/** Uploads of one INSERT: seventeen values each, and SQLite takes 32,766. */
const MAX_BATCH = 64

/** Without a key, a quota and an outbox, creating is one statement, which creations that arrive together share. */
export function createCreation(
  db: Client,
  transact: Transact,
  quota: Quota | null,
  outbox: Outbox | null,
): { creation: Creation; idle: () => Promise<void> } {
  const isOne = quota === null && outbox === null
  /** Runs `work` within the owner's quota. What is counted for it stays counted, though it be refused. */
  const within = async <T>({ ownerId }: NewUpload, work: (tx: Client) => Promise<T>): Promise<T> => {
    try {
      return await transact(work)
    } catch (error) {
      const refused = error instanceof HttpError && error.code === 'payload_too_large'
      if (refused) await transact(async (tx) => quota?.left(tx, ownerId))
      throw error
    }
  }
  /** @returns false when another upload has the key */
  const add = async (tx: Client, upload: Upload, concatKey: string | null = null): Promise<boolean> => {
    if (!(await insert(tx, upload, concatKey))) return false
    await quota?.charge(tx, upload.ownerId, reservedBytes(upload))
    await outbox?.record(tx, [{ type: 'upload.created', upload }])
    return true
  }

  const insertions = inGroups(MAX_BATCH, (uploads: Upload[]) => insertAll(db, uploads))

  const creation: Creation = {
    async create(fresh) {
      const upload = initiated(fresh)
      if (isOne) await assertInserted(insertions.add(upload))
      else await within(fresh, (tx) => add(tx, upload))
      return upload
    },
    async createOnce(fresh, done) {
      const now = fresh.createdAt
      const outcome = await within(fresh, async (tx): Promise<'created' | Done | null> => {
        // First of all: who has the same key waits here, and has written nothing yet.
        if (!(await note(tx, done, now))) return (await look(tx, null, done, now)).done
        await add(tx, initiated(fresh))
        return 'created'
      })
      if (outcome === 'created') return null
      // A key that was forgotten between the two statements is free again.
      return outcome ?? creation.createOnce(fresh, done)
    },
    async createFinal(fresh, key) {
      const upload = finalizing(fresh)
      const added = await (isOne ? add(db, upload, key) : within(fresh, (tx) => add(tx, upload, key)))
      if (added) return upload
      // One that was deleted between the two statements has given its key back.
      return (await findFinal(db, key)) ?? creation.createFinal(fresh, key)
    },
  }
  return { creation, idle: insertions.idle }
}

const initiated = (fresh: NewUpload): Upload => ({
  ...fresh,
  status: 'INITIATED',
  offset: 0,
  appendOffset: null,
  storedCells: 0,
  storageId: null,
  staged: false,
  updatedAt: fresh.createdAt,
})

const finalizing = (fresh: NewUpload & { size: number }): Upload => ({
  ...initiated(fresh),
  status: 'FINALIZING',
  offset: fresh.size,
  storedCells: Math.ceil(fresh.size / fresh.chunkSize),
})

/** @returns false when another upload has the key */
async function insert(db: Client, upload: Upload, concatKey: string | null): Promise<boolean> {
  const inserted = await db.$executeRaw`${insertion([valuesOf(upload, concatKey)])}
    ON CONFLICT (concat_key) DO NOTHING`
  return inserted === 1
}

/** @returns for each what its row was refused for; null: it is there */
async function insertAll(db: Client, uploads: Upload[]): Promise<(Error | null)[]> {
  try {
    await db.$executeRaw(insertion(uploads.map((upload) => valuesOf(upload, null))))
    return uploads.map(() => null)
  } catch (error) {
    // A database that is away takes none of them. And where only its answer was lost, they may be there.
    if (uploads.length === 1 || surfaced(error) !== error) return uploads.map(() => error as Error)
    // One that the database can't take, such as a name that is no text to it, is not the others' fault.
    const alone = await Promise.all(uploads.map((upload) => insertAll(db, [upload])))
    return alone.flat()
  }
}

async function assertInserted(outcome: Promise<Error | null>): Promise<void> {
  const failure = await outcome
  if (failure !== null) throw failure
}

const insertion = (rows: Prisma.Sql[]) => Prisma.sql`
  INSERT INTO uploads (
    id, owner_id, dialect, file_name, file_size, chunk_size, status, content_type, metadata, concat,
    concat_key, checksum_sha256, "offset", stored_chunks, created_at, updated_at, expires_at)
  VALUES ${Prisma.join(rows)}`

const valuesOf = (upload: Upload, concatKey: string | null) => Prisma.sql`(
  ${upload.id}, ${upload.ownerId}, ${upload.dialect}, ${upload.fileName}, ${upload.size},
  ${upload.chunkSize}, ${upload.status}, ${upload.contentType}, ${JSON.stringify(upload.metadata)},
  ${upload.concat}, ${concatKey}, ${upload.checksumSha256}, ${upload.offset}, ${upload.storedCells},
  ${upload.createdAt}, ${upload.updatedAt}, ${upload.expiresAt})`

export async function findFinal(db: Client, key: string): Promise<Upload | null> {
  const rows = await db.$queryRaw<UploadRow[]>`
    SELECT ${UPLOAD_COLUMNS} FROM uploads u WHERE u.concat_key = ${key} AND u.deleted_at IS NULL`
  return rows[0] ? toUpload(rows[0]) : null
}

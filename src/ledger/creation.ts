import type { Done } from '../core/ports.ts'
import type { NewUpload, Upload } from '../core/upload.ts'
import { look, note } from './keys.ts'
import { toUpload, UPLOAD_COLUMNS, type UploadRow } from './rows.ts'
import type { Client, Transact } from './transaction.ts'

export async function create(db: Client, fresh: NewUpload): Promise<Upload> {
  const upload: Upload = {
    ...fresh,
    status: 'INITIATED',
    offset: 0,
    appendOffset: null,
    storedCells: 0,
    storageId: null,
    staged: false,
    updatedAt: fresh.createdAt,
  }
  await insert(db, upload, null)
  return upload
}

/** The key comes first: who has the same one waits there, and has written nothing yet. */
export async function createOnce(transact: Transact, fresh: NewUpload, done: Done): Promise<Done | null> {
  const now = fresh.createdAt
  const outcome = await transact(async (tx) => {
    if (!(await note(tx, done, now))) return (await look(tx, null, done, now)).done
    await create(tx, fresh)
    return 'created'
  })
  if (outcome === 'created') return null
  // A key that was forgotten between the two statements is free again.
  return outcome ?? createOnce(transact, fresh, done)
}

export async function createFinal(
  db: Client,
  fresh: NewUpload & { size: number },
  key: string,
): Promise<Upload> {
  const upload: Upload = {
    ...fresh,
    status: 'FINALIZING',
    offset: fresh.size,
    appendOffset: null,
    storedCells: Math.ceil(fresh.size / fresh.chunkSize),
    storageId: null,
    staged: false,
    updatedAt: fresh.createdAt,
  }
  if (await insert(db, upload, key)) return upload
  // One that was deleted between the two statements has given its key back.
  return (await findFinal(db, key)) ?? createFinal(db, fresh, key)
}

/** @returns false when another upload has the key */
async function insert(db: Client, upload: Upload, concatKey: string | null): Promise<boolean> {
  const inserted = await db.$executeRaw`
    INSERT INTO uploads (
      id, owner_id, dialect, file_name, file_size, chunk_size, status, content_type, metadata, concat,
      concat_key, checksum_sha256, "offset", stored_chunks, created_at, updated_at, expires_at)
    VALUES (
      ${upload.id}, ${upload.ownerId}, ${upload.dialect}, ${upload.fileName}, ${upload.size},
      ${upload.chunkSize}, ${upload.status}, ${upload.contentType}, ${JSON.stringify(upload.metadata)},
      ${upload.concat}, ${concatKey}, ${upload.checksumSha256}, ${upload.offset}, ${upload.storedCells},
      ${upload.createdAt}, ${upload.updatedAt}, ${upload.expiresAt})
    ON CONFLICT (concat_key) DO NOTHING`
  return inserted === 1
}

export async function findFinal(db: Client, key: string): Promise<Upload | null> {
  const rows = await db.$queryRaw<UploadRow[]>`
    SELECT ${UPLOAD_COLUMNS} FROM uploads u WHERE u.concat_key = ${key} AND u.deleted_at IS NULL`
  return rows[0] ? toUpload(rows[0]) : null
}

import type { Commit, Committed } from '../core/ports/ledger.ts'
import type { Upload } from '../core/upload.ts'
import { Prisma } from '../generated/sqlite/client.ts'
import type { Dialect } from './dialect.ts'
import { fencesAmong, type Fences } from './fences.ts'
import { growthOf, type Growth } from './growth.ts'
import { planCommit, settle, type CellState, type PlannedCell } from './progress.ts'
import type { Quota } from './quota.ts'
import { toUpload, UPLOAD_COLUMNS, type UploadRow } from './rows.ts'
import type { Client } from './statements.ts'

/** Rows of one INSERT: nine values each, and SQLite takes 32,766 values. */
const ROWS_PER_INSERT = 500

/** An upload while a batch works on it. */
interface Draft {
  upload: Upload
  /** null: no byte is committed; undefined: not looked up */
  cells: Map<number, CellState | null>
  changedCells: Map<number, ChangedCell>
  changed: boolean
}

type ChangedCell = PlannedCell & { at: Date }

/** Applies commits one after another: few statements for all of them, and each is judged by its own checks. */
export async function commitAll(
  tx: Client,
  dialect: Dialect,
  quota: Quota | null,
  commits: Commit[],
): Promise<Committed[]> {
  if (dialect.locksRows) await hold(tx, dialect, commits)
  const fences = await fencesAmong(tx, dialect, commits)
  const drafts = await load(tx, commits)
  const growth = await growthOf(tx, quota, uploadsOf(drafts))
  const results: Committed[] = []
  for (const commit of commits)
    results.push(await apply(tx, drafts.get(commit.id), commit, { fences, growth }))
  await write(tx, [...drafts.values()])
  await growth.charge(uploadsOf(drafts))
  return results
}

const uploadsOf = (drafts: Map<string, Draft>): Upload[] => [...drafts.values()].map(({ upload }) => upload)

async function apply(
  tx: Client,
  draft: Draft | undefined,
  commit: Commit,
  { fences, growth }: { fences: Fences; growth: Growth },
): Promise<Committed> {
  if (!draft) return { ok: false, upload: null }
  if (!fences.hold(commit)) return { ok: false, upload: draft.upload }
  const progress = planCommit(draft.upload, commit, (index) => draft.cells.get(index) ?? null)
  if (progress === null) return { ok: false, upload: draft.upload }
  const refusal = growth.refusal(draft.upload, progress.cells)
  if (refusal) return { ok: false, upload: draft.upload, refusal }

  draft.changed = true
  draft.upload = progress.upload
  for (const cell of progress.cells) {
    draft.cells.set(cell.index, cell)
    const retries = (draft.changedCells.get(cell.index)?.retries ?? 0) + (cell.retries ?? 0)
    draft.changedCells.set(cell.index, { ...cell, retries, at: commit.at })
  }
  const offset =
    progress.prefixCell === null ? draft.upload.offset : await prefixEnd(tx, draft, progress.prefixCell)
  const { upload, reached } = settle(draft.upload, offset, commit)
  draft.upload = upload
  return { ok: true, upload, reached }
}

/** Uploads are held in one order, so that no two processes wait for each other. Their cells belong to them. */
const hold = (tx: Client, { forUpdate }: Dialect, commits: Commit[]) => tx.$queryRaw`
  SELECT id FROM uploads WHERE id IN (${Prisma.join([...new Set(commits.map(({ id }) => id))])})
  ORDER BY id ${forUpdate}`

/** Every upload of the commits, with the cells that each touches and the one behind them. */
async function load(tx: Client, commits: Commit[]): Promise<Map<string, Draft>> {
  type Row = UploadRow & { chunk_index: number | null; bytes: number; chunk_status: string }
  const spans = commits.map(({ id, cells }) => ({ id, ...spanOf(cells.map((cell) => cell.index)) }))
  const selects = spans.map(
    ({ id, first, last }) => Prisma.sql`
      SELECT ${UPLOAD_COLUMNS}, c.chunk_index, c.size AS bytes, c.status AS chunk_status
      FROM uploads u
      LEFT JOIN chunks c ON c.upload_id = u.id AND c.chunk_index BETWEEN ${first} AND ${last}
      WHERE u.id = ${id} AND u.deleted_at IS NULL`,
  )
  const rows = await tx.$queryRaw<Row[]>`${Prisma.join(selects, ' UNION ALL ')}`

  const drafts = new Map<string, Draft>()
  for (const row of rows) {
    const draft = drafts.get(row.id) ?? newDraft(toUpload(row))
    drafts.set(row.id, draft)
    if (row.chunk_index !== null)
      draft.cells.set(row.chunk_index, { bytes: row.bytes, whole: row.chunk_status === 'UPLOADED' })
  }
  for (const { id, first, last } of spans) markLookedUp(drafts.get(id), first, last)
  return drafts
}

const newDraft = (upload: Upload): Draft => ({
  upload,
  cells: new Map(),
  changedCells: new Map(),
  changed: false,
})

/** `last`, which counts, is the cell behind them; an empty span for no cells. */
function spanOf(indexes: number[]): { first: number; last: number } {
  if (indexes.length === 0) return { first: 0, last: -1 }
  return { first: Math.min(...indexes), last: Math.max(...indexes) + 1 }
}

function markLookedUp(draft: Draft | undefined, first: number, last: number): void {
  for (let index = first; draft && index <= last; index++)
    if (!draft.cells.has(index)) draft.cells.set(index, null)
}

/** Where the run of committed bytes ends that goes through the cell `index`. */
async function prefixEnd(tx: Client, { upload, cells }: Draft, index: number): Promise<number> {
  const place = (cell: number, bytes: number) =>
    Math.min(cell * upload.chunkSize + bytes, upload.size ?? Number.MAX_SAFE_INTEGER)
  for (;;) {
    while (cells.get(index)?.whole) index++
    const cell = cells.get(index)
    if (cell !== undefined) return place(index, cell?.bytes ?? 0)
    // Not looked up: what is stored goes on at least to the cell before.
    const gap = await gapBehind(tx, upload.id, index - 1)
    if (!cells.has(gap.index)) return place(gap.index, gap.bytes)
    index = gap.index
  }
}

/** The first cell behind a whole one that is not whole, and its bytes. The run in between may be long. */
async function gapBehind(tx: Client, id: string, whole: number): Promise<{ index: number; bytes: number }> {
  const rows = await tx.$queryRaw<{ last_whole: number; bytes: number | null }[]>`
    SELECT c.chunk_index AS last_whole, n.size AS bytes
    FROM chunks c
    LEFT JOIN chunks n ON n.upload_id = c.upload_id AND n.chunk_index = c.chunk_index + 1
    WHERE c.upload_id = ${id} AND c.chunk_index >= ${whole} AND c.status = 'UPLOADED'
      AND (n.status IS NULL OR n.status <> 'UPLOADED')
    ORDER BY c.chunk_index
    LIMIT 1`
  const row = rows[0]
  return { index: (row?.last_whole ?? whole) + 1, bytes: row?.bytes ?? 0 }
}

async function write(tx: Client, drafts: Draft[]): Promise<void> {
  const cells = drafts.flatMap(({ upload, changedCells }) =>
    [...changedCells.values()].map((cell) => cellValues(upload.id, cell)),
  )
  for (let done = 0; done < cells.length; done += ROWS_PER_INSERT)
    await upsertCells(tx, cells.slice(done, done + ROWS_PER_INSERT))

  const uploads = drafts.filter(({ changed }) => changed).map(({ upload }) => uploadValues(upload))
  if (uploads.length > 0) await updateUploads(tx, uploads)
}

const cellValues = (
  id: string,
  { index, bytes, whole, sha256, ref, retries, at }: ChangedCell,
) => Prisma.sql`(
  ${id}, ${index}, ${bytes}, ${whole ? 'UPLOADED' : 'PARTIAL'}, ${sha256 ?? null}, ${ref ?? null},
  ${retries ?? 0}, ${at}, ${at})`

const upsertCells = (tx: Client, rows: Prisma.Sql[]) => tx.$executeRaw`
  INSERT INTO chunks (
    upload_id, chunk_index, size, status, checksum_sha256, storage_ref, retry_count, created_at, updated_at)
  VALUES ${Prisma.join(rows)}
  ON CONFLICT (upload_id, chunk_index) DO UPDATE SET
    size = excluded.size, status = excluded.status, checksum_sha256 = excluded.checksum_sha256,
    storage_ref = excluded.storage_ref, retry_count = chunks.retry_count + excluded.retry_count,
    updated_at = excluded.updated_at`

/** What changes, in a row that could be inserted: empty where a column only must not be null. */
const uploadValues = (upload: Upload) => Prisma.sql`(
  ${upload.id}, ${upload.status}, ${upload.storedCells}, ${upload.offset}, ${upload.appendOffset},
  ${upload.updatedAt}, ${upload.expiresAt}, ${upload.createdAt}, '', '', '', ${upload.chunkSize}, '{}')`

/**
 * One statement for any number of rows, which an UPDATE is not without naming every type in a dialect
 * of SQL. Nothing is ever inserted: the transaction has read these rows, and nobody else can write them.
 */
const updateUploads = (tx: Client, rows: Prisma.Sql[]) => tx.$executeRaw`
  INSERT INTO uploads (
    id, status, stored_chunks, "offset", append_offset, updated_at, expires_at,
    created_at, owner_id, dialect, file_name, chunk_size, metadata)
  VALUES ${Prisma.join(rows)}
  ON CONFLICT (id) DO UPDATE SET
    status = excluded.status, stored_chunks = excluded.stored_chunks, "offset" = excluded."offset",
    append_offset = excluded.append_offset, updated_at = excluded.updated_at,
    expires_at = excluded.expires_at`

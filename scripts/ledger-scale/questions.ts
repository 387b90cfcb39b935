import { randomUUID } from 'node:crypto'
import type { UploadLedger } from '../../src/core/ports/ledger.ts'
import type { NewUpload } from '../../src/core/upload.ts'
import { BIG_OWNER } from './fill.ts'

export interface Question {
  name: string
  ask: (i: number) => Promise<unknown>
}

const PAGE = 50
const BATCH = 100
const WEEK_MS = 7 * 24 * 3600 * 1000
const HOUR_MS = 3_600_000

/**
 * What a running server asks its ledger, and what it must not be asked for long: lists, creation, commits,
 * and the chores of every minute.
 */
export async function questions(
  ledger: UploadLedger,
  limited: UploadLedger,
  uploads: number,
): Promise<Question[]> {
  const now = new Date()
  const weekAgo = new Date(now.getTime() - WEEK_MS)
  const middle = await cursorBehind(ledger, uploads / 4)
  const some = (await ledger.list({ ownerId: BIG_OWNER, limit: 1000 })).uploads
  const idOf = (i: number): string => some[i % some.length]?.id ?? ''
  const fresh = (ownerId = BIG_OWNER): NewUpload => ({
    id: randomUUID(),
    ownerId,
    dialect: 'native',
    fileName: 'a.bin',
    size: 10_000_000,
    chunkSize: 5_000_000,
    contentType: null,
    metadata: {},
    concat: null,
    checksumSha256: null,
    createdAt: new Date(),
    expiresAt: new Date(Date.now() + HOUR_MS),
  })
  const done = () => ({
    ownerId: BIG_OWNER,
    key: randomUUID(),
    fingerprint: 'f',
    answer: null,
    expiresAt: new Date(Date.now() + HOUR_MS),
  })
  return [
    { name: 'list, first page', ask: () => ledger.list({ ownerId: BIG_OWNER, limit: PAGE }) },
    {
      name: 'list, a page in the middle',
      ask: () => ledger.list({ ownerId: BIG_OWNER, limit: PAGE, cursor: middle }),
    },
    {
      name: 'list, COMPLETED',
      ask: () => ledger.list({ ownerId: BIG_OWNER, limit: PAGE, status: 'COMPLETED' }),
    },
    {
      name: 'list, IN_PROGRESS in the middle',
      ask: () => ledger.list({ ownerId: BIG_OWNER, limit: PAGE, status: 'IN_PROGRESS', cursor: middle }),
    },
    { name: 'list of another user', ask: () => ledger.list({ ownerId: 'small 0', limit: PAGE }) },
    { name: 'get', ask: (i) => ledger.get(idOf(i)) },
    { name: 'missing chunks', ask: (i) => ledger.storedCells(idOf(i)) },
    { name: 'create', ask: () => ledger.create(fresh()) },
    { name: 'create with a key', ask: () => ledger.createOnce(fresh(), done()) },
    { name: 'create within a quota', ask: () => limited.create(fresh()) },
    {
      name: 'create, and commit a chunk',
      ask: async () => {
        const { id } = await ledger.create(fresh())
        await ledger.commit({
          id,
          cells: [{ index: 0, from: 0, to: 5_000_000, whole: true }],
          appendOffset: null,
          at: new Date(),
          expiresAt: new Date(Date.now() + HOUR_MS),
          whenFull: null,
        })
      },
    },
    { name: 'expired', ask: () => ledger.expired(now, BATCH) },
    { name: 'leftovers', ask: () => ledger.leftovers(weekAgo, BATCH) },
    { name: 'what is FINALIZING', ask: () => ledger.inStatus('FINALIZING', BATCH) },
    { name: 'what is EXPIRING', ask: () => ledger.inStatus('EXPIRING', BATCH) },
    { name: 'forget a hundred keys', ask: () => ledger.forget(now, BATCH) },
    { name: 'the check of /ready', ask: () => ledger.check() },
  ]
}

/** @returns the cursor behind about so many uploads */
async function cursorBehind(ledger: UploadLedger, uploads: number): Promise<string> {
  const limit = Math.min(1000, uploads)
  let cursor: string | null = null
  for (let passed = 0; passed < uploads; passed += limit) {
    const after: { cursor?: string } = cursor === null ? {} : { cursor }
    cursor = (await ledger.list({ ownerId: BIG_OWNER, limit, ...after })).nextCursor
  }
  if (cursor === null) throw new Error('the list has no middle')
  return cursor
}

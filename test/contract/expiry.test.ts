import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import path from 'node:path'
import { onTestFinished, expect, test } from 'vitest'
import { createLocker } from '../../src/admission/locker.ts'
import type { ChunkStore } from '../../src/core/ports.ts'
import { createLedger } from '../../src/ledger/ledger.ts'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openDb } from '../../src/ledger/open.ts'
import { createMetrics } from '../../src/observe/metrics.ts'
import { createLocalStore } from '../../src/stores/local.ts'
import { createUploads, type Uploads } from '../../src/uploads/use-cases.ts'
import { bodyOf, turnOf } from '../support/body.ts'
import { useFolder } from '../support/folder.ts'

const DAY = 24 * 3600 * 1000

/** The use cases on a real ledger and a real disk, with a clock that the test sets. */
async function useUploads(change: (store: ChunkStore) => ChunkStore = (store) => store) {
  const root = await useFolder()
  const url = `file:${path.join(root, 'uploads.db')}`
  migrateUp(url)
  const ledger = createLedger(await openDb(url))
  onTestFinished(() => ledger.close())
  const clock = { now: new Date('2030-01-01T00:00:00Z') }
  const { meter } = createMetrics()
  const store = change(createLocalStore(path.join(root, 'files')))
  const limits = { chunkSizeBytes: 10, maxUploadBytes: 1000, uploadTtlMs: DAY, maxConcatParts: 10 }
  const uploads = createUploads({
    ledger,
    store,
    locker: createLocker(),
    meter,
    now: () => clock.now,
    limits,
  })
  return { uploads, ledger, clock, root }
}

const create = async (uploads: Uploads, bytes: string | null, size = 25): Promise<string> => {
  const id = randomUUID()
  await uploads.create({
    id,
    ownerId: 'ada',
    dialect: 'tus',
    fileName: 'a',
    size,
    chunkSize: null,
    contentType: null,
    metadata: {},
    concat: null,
    checksumSha256: null,
  })
  if (bytes !== null)
    await uploads.append({
      id,
      offset: 0,
      declaredSize: null,
      body: bodyOf(Buffer.from(bytes)),
      turn: turnOf(),
      checksum: null,
    })
  return id
}

const filesIn = async (root: string) =>
  (await readdir(path.join(root, 'files'), { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  )

const after = (clock: { now: Date }, ms: number) => {
  clock.now = new Date(clock.now.getTime() + ms)
}

const fail = (error: unknown) => {
  throw error
}

test('the reaper removes hundreds of expired uploads with their bytes, and no finished or living one', async () => {
  const { uploads, clock, root } = await useUploads()
  const expired: string[] = []
  for (let i = 0; i < 230; i++) expired.push(await create(uploads, i % 2 ? 'some bytes of a file' : null))
  const finished = await create(uploads, 'hello', 5)
  after(clock, DAY - 1)
  const living = await create(uploads, 'some')
  expect(await uploads.reap(fail)).toEqual({ expiredUploads: 0, removedUploads: 0 })

  after(clock, 1)
  expect(await uploads.reap(fail)).toEqual({ expiredUploads: 230, removedUploads: 0 })
  expect(await filesIn(root)).toHaveLength(2)
  for (const id of expired.slice(0, 3)) await expect(uploads.get(id)).rejects.toMatchObject({ status: 410 })
  expect((await uploads.get(finished)).status).toBe('COMPLETED')
  expect((await uploads.get(living)).offset).toBe(4)
  after(clock, 365 * DAY)
  await uploads.reap(fail)
  expect((await uploads.get(finished)).status).toBe('COMPLETED')
})

test('every byte prolongs an upload', async () => {
  const { uploads, clock } = await useUploads()
  const id = await create(uploads, 'abc')
  for (let i = 0; i < 3; i++) {
    after(clock, DAY - 1)
    await uploads.reap(fail)
    await uploads.append({
      id,
      offset: 3 + i,
      declaredSize: null,
      body: bodyOf(Buffer.from('x')),
      turn: turnOf(),
      checksum: null,
    })
  }
  expect((await uploads.get(id)).offset).toBe(6)
})

test('an expired upload answers 410 for seven days and 404 after them', async () => {
  const { uploads, clock } = await useUploads()
  const id = await create(uploads, 'abc')
  after(clock, DAY)
  await uploads.reap(fail)
  after(clock, 7 * DAY)
  await uploads.reap(fail)
  await expect(uploads.get(id)).rejects.toMatchObject({ status: 410 })
  after(clock, 1000)
  expect(await uploads.reap(fail)).toEqual({ expiredUploads: 0, removedUploads: 1 })
  await expect(uploads.get(id)).rejects.toMatchObject({ status: 404 })
})

test('bytes that could not be removed are removed by the next run, and the others are not kept waiting', async () => {
  let broken: string | null = null
  const { uploads, clock, root } = await useUploads((store) => ({
    ...store,
    // A stand-in for a disk that fails for a moment: nothing here can make a real unlink fail once.
    remove: (id) => (id === broken ? Promise.reject(new Error('EIO')) : store.remove(id)),
  }))
  const ids = [await create(uploads, 'abc'), await create(uploads, 'def')]
  broken = ids[0] ?? null
  after(clock, DAY)
  const failures: string[] = []
  await uploads.reap((_error, id) => failures.push(id))
  expect(new Set(failures)).toEqual(new Set([broken]))
  expect(await filesIn(root)).toHaveLength(1)
  broken = null
  await uploads.reap(fail)
  expect(await filesIn(root)).toHaveLength(0)
})

test('a deletion that was cut short is finished', async () => {
  const { uploads, ledger, clock, root } = await useUploads()
  const id = await create(uploads, 'abc')
  await ledger.markDeleted(id, clock.now)
  await expect(uploads.get(id)).rejects.toMatchObject({ status: 404 })
  expect(await uploads.reap(fail)).toEqual({ expiredUploads: 0, removedUploads: 1 })
  expect(await filesIn(root)).toHaveLength(0)
})

test('an expiry that was cut short is finished', async () => {
  const { uploads, ledger, clock, root } = await useUploads()
  const id = await create(uploads, 'abc')
  after(clock, DAY)
  await ledger.expire(id, clock.now)
  await expect(uploads.get(id)).rejects.toMatchObject({ status: 410 })
  await uploads.reap(fail)
  expect(await filesIn(root)).toHaveLength(0)
})

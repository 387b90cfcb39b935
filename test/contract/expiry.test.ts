import path from 'node:path'
import { expect, test } from 'vitest'
import type { Uploads } from '../../src/uploads/use-cases.ts'
import { bodyOf, turnOf } from '../support/body.ts'
import { filesIn } from '../support/folder.ts'
import { append, createUpload, DAY, fail, useUploads } from '../support/uploads.ts'

const create = async (uploads: Uploads, bytes: string, size = 25): Promise<string> => {
  const id = await createUpload(uploads, { size })
  if (bytes) await append(uploads, id, bytes)
  return id
}

const after = (clock: { now: Date }, ms: number) => {
  clock.now = new Date(clock.now.getTime() + ms)
}

test('the reaper removes hundreds of expired uploads with their bytes, and no finished or living one', async () => {
  const { uploads, clock, root } = await useUploads()
  const expired: string[] = []
  for (let i = 0; i < 230; i++) expired.push(await create(uploads, i % 2 ? 'some bytes of a file' : ''))
  const finished = await create(uploads, 'hello', 5)
  after(clock, DAY - 1)
  const living = await create(uploads, 'some')
  expect(await uploads.reap(fail)).toEqual({ expiredUploads: 0, removedUploads: 0, removedObjects: 0 })

  after(clock, 1)
  expect(await uploads.reap(fail)).toEqual({ expiredUploads: 230, removedUploads: 0, removedObjects: 230 })
  expect(await filesIn(path.join(root, 'files'))).toHaveLength(2)
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
    await append(uploads, id, 'x', 3 + i)
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
  expect(await uploads.reap(fail)).toEqual({ expiredUploads: 0, removedUploads: 1, removedObjects: 0 })
  await expect(uploads.get(id)).rejects.toMatchObject({ status: 404 })
})

test('bytes that could not be removed are removed by the next run, and the others are not kept waiting', async () => {
  let broken: string | null = null
  const { uploads, clock, root } = await useUploads((store) => ({
    ...store,
    // A stand-in for a disk that fails for a moment: nothing here can make a real unlink fail once.
    remove: (upload) => (upload.id === broken ? Promise.reject(new Error('EIO')) : store.remove(upload)),
  }))
  const ids = [await create(uploads, 'abc'), await create(uploads, 'def')]
  broken = ids[0] ?? null
  after(clock, DAY)
  const failures: string[] = []
  await uploads.reap((_error, id) => failures.push(id))
  expect(new Set(failures)).toEqual(new Set([broken]))
  expect(await filesIn(path.join(root, 'files'))).toHaveLength(1)
  broken = null
  await uploads.reap(fail)
  expect(await filesIn(path.join(root, 'files'))).toHaveLength(0)
})

test('a deletion that was cut short is finished', async () => {
  const { uploads, ledger, clock, root } = await useUploads()
  const id = await create(uploads, 'abc')
  await ledger.markDeleted(id, clock.now)
  await expect(uploads.get(id)).rejects.toMatchObject({ status: 404 })
  expect(await uploads.reap(fail)).toEqual({ expiredUploads: 0, removedUploads: 1, removedObjects: 1 })
  expect(await filesIn(path.join(root, 'files'))).toHaveLength(0)
})

test('an expiry that was cut short is finished', async () => {
  const { uploads, ledger, clock, root } = await useUploads()
  const id = await create(uploads, 'abc')
  after(clock, DAY)
  await ledger.expire(id, clock.now)
  await expect(uploads.get(id)).rejects.toMatchObject({ status: 410 })
  await uploads.reap(fail)
  expect(await filesIn(path.join(root, 'files'))).toHaveLength(0)
})

test('an upload is not expired under a writer whose bytes keep coming', async () => {
  const { uploads, clock } = await useUploads()
  const id = await createUpload(uploads)
  let reaped: unknown
  const body = bodyOf(Buffer.from('abc'), { pieceBytes: 1 })
  const take = body.take.bind(body)
  await uploads.append({
    id,
    offset: 0,
    declaredSize: null,
    checksum: null,
    turn: turnOf(),
    body: {
      ...body,
      take: async (maxBytes) => {
        after(clock, DAY)
        reaped ??= await uploads.reap(fail)
        return take(maxBytes)
      },
    },
  })
  expect(reaped).toEqual({ expiredUploads: 0, removedUploads: 0, removedObjects: 0 })
  expect((await uploads.get(id)).offset).toBe(3)
})

import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import type { ChunkStore } from '../../src/core/ports/store.ts'
import type { Uploads } from '../../src/uploads/use-cases.ts'
import { filesIn } from '../support/folder.ts'
import { useSmallDisk } from '../support/small-disk.ts'
import { append, createUpload, fail, putChunk, useUploads } from '../support/uploads.ts'

const sha = (text: string) => createHash('sha256').update(text).digest('hex')
const A = 'AAAAAAAAAA'
const B = 'BBBBBBBBBB'
const Z = 'ZZZZZZZZZZ'

/** Lets something happen just before the store does what it is asked for, once. */
const before = (name: 'read' | 'concat', happens: () => Promise<unknown>) => (store: ChunkStore) => {
  let first = true
  const once = async () => {
    if (!first) return
    first = false
    await happens()
  }
  return {
    ...store,
    ...(name === 'concat' && {
      concat: async (...args: Parameters<ChunkStore['concat']>) => {
        await once()
        await store.concat(...args)
      },
    }),
    ...(name === 'read' && {
      async *read(...args: Parameters<ChunkStore['read']>) {
        await once()
        yield* store.read(...args)
      },
    }),
  }
}

const contents = async (uploads: Uploads, id: string): Promise<string> => {
  const upload = await uploads.get(id)
  const pieces: Uint8Array[] = []
  for await (const piece of uploads.read(upload, { start: 0, end: upload.size ?? 0 }))
    pieces.push(Buffer.from(piece))
  return String(Buffer.concat(pieces))
}

test('a chunk that is freed while complete looks leaves the upload open, and never one that fails its checksum', async () => {
  const { uploads, ledger } = await useUploads()
  const id = await createUpload(uploads, { dialect: 'native', size: 20, checksumSha256: sha(A + B) })
  for (let round = 0; round < 20; round++) {
    await putChunk(uploads, id, 0, A)
    await putChunk(uploads, id, 1, B).catch(() => {})
    const [completed] = await Promise.allSettled([
      uploads.complete(id),
      uploads.freeChunk(id, 0).then(() => putChunk(uploads, id, 0, Z)),
    ])
    const { status } = (await ledger.get(id)) ?? {}
    if (status === 'COMPLETED') {
      expect(await contents(uploads, id)).toBe(A + B)
      return
    }
    expect(status).toBe('IN_PROGRESS')
    expect(completed).toMatchObject({ status: 'rejected', reason: { status: 409 } })
    await uploads.freeChunk(id, 0)
  }
})

test('while the whole-file checksum is read, no chunk can be freed or sent', async () => {
  let id = ''
  const refusals: unknown[] = []
  const { uploads } = await useUploads(
    before('read', async () => {
      refusals.push(await uploads.freeChunk(id, 0).catch((error: unknown) => error))
      refusals.push(await putChunk(uploads, id, 0, Z).catch((error: unknown) => error))
    }),
  )
  id = await createUpload(uploads, { dialect: 'native', size: 10, checksumSha256: sha(A) })
  await putChunk(uploads, id, 0, A)
  await uploads.complete(id)
  expect((await uploads.get(id)).status).toBe('COMPLETED')
  expect(refusals).toMatchObject([{ status: 409 }, { status: 409 }])
  expect(await contents(uploads, id)).toBe(A)
})

test('complete that comes many times at once finishes once, and answers all', async () => {
  const { uploads } = await useUploads()
  const id = await createUpload(uploads, { dialect: 'native', size: 10, checksumSha256: sha(A) })
  await putChunk(uploads, id, 0, A)
  await Promise.all(Array.from({ length: 10 }, () => uploads.complete(id)))
  expect((await uploads.get(id)).status).toBe('COMPLETED')
})

const part = async (uploads: Uploads, bytes: string): Promise<string> => {
  const id = await createUpload(uploads, { size: bytes.length, concat: 'partial' })
  await append(uploads, id, bytes)
  return id
}

const join = (uploads: Uploads, id: string, parts: string[]) =>
  uploads.concatenate({
    id,
    ownerId: 'ada',
    fileName: 'a',
    contentType: null,
    metadata: {},
    concat: `final;${parts.map((each) => `/files/${each}`).join(' ')}`,
    parts,
  })

const FINAL = '00000000-0000-4000-8000-00000000000f'

test('a part that is changed while it is copied fails the final upload, and the list may be sent again', async () => {
  let p = ''
  const { uploads, ledger, clock } = await useUploads(
    before('concat', async () => {
      clock.now = new Date(clock.now.getTime() + 1)
      await uploads.freeChunk(p, 0)
      await putChunk(uploads, p, 0, Z)
    }),
  )
  p = await part(uploads, A)
  const other = await part(uploads, B)
  await expect(join(uploads, FINAL, [p, other])).rejects.toMatchObject({ status: 409 })
  expect((await ledger.get(FINAL))?.status).toBe('FAILED')
  const again = await join(uploads, '00000000-0000-4000-8000-0000000000ff', [p, other])
  expect(await contents(uploads, again.id)).toBe(Z + B)
})

test('a part that is gone fails the final upload for good, instead of being tried for ever', async () => {
  let p = ''
  const { uploads, ledger } = await useUploads(
    before('concat', async () => {
      await uploads.remove(p)
      throw new Error('the process dies here')
    }),
  )
  p = await part(uploads, A)
  await expect(join(uploads, FINAL, [p])).rejects.toThrow('dies')
  expect((await ledger.get(FINAL))?.status).toBe('FINALIZING')
  const failures: unknown[] = []
  await uploads.resumeFinalizing((error) => failures.push(error))
  expect(failures).toMatchObject([{ status: 409 }])
  expect((await ledger.get(FINAL))?.status).toBe('FAILED')
})

test('a final upload that a crash left is taken up, and one that is complete by then is left alone', async () => {
  const { uploads, ledger } = await useUploads(
    before('concat', () => Promise.reject(new Error('the process dies here'))),
  )
  const [p, q] = [await part(uploads, A), await part(uploads, B)]
  await expect(join(uploads, FINAL, [p, q])).rejects.toThrow('dies')
  // The client sends the list again before the chore comes by, and then changes a part.
  await join(uploads, '00000000-0000-4000-8000-0000000000ff', [p, q])
  await uploads.freeChunk(p, 0)
  await putChunk(uploads, p, 0, Z)
  await uploads.resumeFinalizing(fail)
  expect((await ledger.get(FINAL))?.status).toBe('COMPLETED')
  expect(await contents(uploads, FINAL)).toBe(A + B)
})

test('a final upload that is deleted while it is made leaves no file', async () => {
  const { uploads, root } = await useUploads(before('concat', () => uploads.remove(FINAL)))
  const p = await part(uploads, A)
  await expect(join(uploads, FINAL, [p])).rejects.toMatchObject({ status: 404 })
  expect((await filesIn(path.join(root, 'files'))).map((file) => path.basename(file))).toEqual([p])
})

test('a final upload that does not fit is 507, leaves the room that was there, and can be sent again', async (ctx) => {
  const root = await useSmallDisk(ctx, '8m')
  const { uploads, ledger } = await useUploads((store) => store, root)
  const big = await createUpload(uploads, { size: 2_000_000, chunkSize: 1_000_000, concat: 'partial' })
  await append(uploads, big, 'x'.repeat(2_000_000))
  await expect(join(uploads, FINAL, [big, big, big, big])).rejects.toMatchObject({ status: 507 })
  expect((await ledger.get(FINAL))?.status).toBe('FAILED')
  expect((await filesIn(path.join(root, 'files'))).map((file) => path.basename(file))).toEqual([big])
  expect(readdirSync(root)).toContain('uploads.db')
  const fits = await join(uploads, '00000000-0000-4000-8000-0000000000ff', [big])
  expect(fits.status).toBe('COMPLETED')
})

test('whoever asks for an upload that a crash left in the middle of completing has it completed', async () => {
  const { uploads, ledger } = await useUploads(
    before('read', () => Promise.reject(new Error('the process dies here'))),
  )
  const id = await createUpload(uploads, { size: 10, checksumSha256: sha(A) })
  await expect(append(uploads, id, A)).rejects.toThrow('dies')
  expect((await ledger.get(id))?.status).toBe('FINALIZING')
  expect(await uploads.getSettled(id)).toMatchObject({ status: 'COMPLETED', offset: 10 })
})

test('the last PATCH, sent again to an upload that a crash left in the middle of completing, completes it', async () => {
  const { uploads, ledger } = await useUploads(
    before('read', () => Promise.reject(new Error('the process dies here'))),
  )
  const id = await createUpload(uploads, { size: 10, checksumSha256: sha(A) })
  await expect(append(uploads, id, A)).rejects.toThrow('dies')
  expect((await ledger.get(id))?.status).toBe('FINALIZING')
  expect(await append(uploads, id, '', 10)).toMatchObject({ offset: 10, upload: { status: 'COMPLETED' } })
})

test('a deferred length that is declared after all bytes completes the upload in the same step', async () => {
  const { uploads, ledger } = await useUploads()
  const id = await createUpload(uploads, { size: null })
  await append(uploads, id, 'hello')
  const statuses: (string | undefined)[] = []
  await uploads.append({
    id,
    offset: 5,
    declaredSize: 5,
    checksum: null,
    turn: { enter: () => undefined, leave: () => {} },
    body: {
      length: 0,
      cause: null,
      idle: () => false,
      stop: () => {},
      async take() {
        statuses.push((await ledger.get(id))?.status)
        return null
      },
    },
  })
  expect((await ledger.get(id))?.status).toBe('COMPLETED')
  expect(statuses.every((status) => status === 'COMPLETED')).toBe(true)
})

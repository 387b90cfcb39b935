import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { createLeaseLocker } from '../../src/admission/lease-locker.ts'
import { createLocker } from '../../src/admission/locker.ts'
import { HttpError } from '../../src/core/errors.ts'
import { createLeases } from '../../src/ledger/leases.ts'
import type { Db } from '../../src/ledger/open.ts'
import { createUploads } from '../../src/uploads/use-cases.ts'
import { bodyOf, turnOf } from '../support/body.ts'
import { sha256 } from '../support/bytes.ts'
import { filesIn, useFolder } from '../support/folder.ts'
import { append, CELL, createUpload, putChunk, useUploads } from '../support/uploads.ts'

/** A locker as each process has one. What a faint one holds is never renewed, so that others get it soon. */
const lockerOf =
  (owner: string, { faint = false } = {}) =>
  (db: Db) => {
    const leases = createLeases(db, owner)
    return createLeaseLocker({
      leases: faint ? { ...leases, renew: () => Promise.reject(new Error('the database is away')) } : leases,
      inner: createLocker({ lookMs: 10 }),
      options: faint ? { ttlMs: 300, renewMs: 100, marginMs: 0, lookMs: 20 } : { pauseMs: 20 },
    })
  }

/** A place at which a test holds somebody up. */
function createGate() {
  let open = () => {}
  let reach = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  const reached = new Promise<void>((resolve) => (reach = resolve))
  const pass = () => {
    reach()
    return opened
  }
  return { pass, reached, open }
}

const fileOf = (root: string, id: string) => readFile(path.join(root, 'files', id.slice(0, 3), id), 'utf8')

test('a writer that lost its place writes no byte more over what another process has stored since', async () => {
  const root = await useFolder()
  const a = await useUploads(undefined, root, { lockerOf: lockerOf('a', { faint: true }) })
  const b = await useUploads(undefined, root, { lockerOf: lockerOf('b') })
  const id = await createUpload(a.uploads, { size: 3 * CELL })
  const gate = createGate()
  const body = bodyOf(Buffer.from('0123456789abcdeXXXXX'), { pieceBytes: 5 })
  const writing = a.uploads.append({
    id,
    offset: 0,
    declaredSize: null,
    checksum: null,
    turn: turnOf(),
    body: {
      ...body,
      async take(maxBytes) {
        if (body.left() === 5) await gate.pass()
        return body.take(Math.min(maxBytes, 5))
      },
    },
  })
  await gate.reached
  expect((await b.uploads.get(id)).offset).toBe(CELL)
  let done: unknown = null
  while (done === null) done = await append(b.uploads, id, 'abcdefghij', CELL).catch(unlessLocked)
  gate.open()
  await expect(writing).rejects.toMatchObject({ status: 423 })
  expect(await fileOf(root, id)).toBe('0123456789abcdefghij')
  expect((await b.uploads.get(id)).offset).toBe(2 * CELL)
})

function unlessLocked(error: unknown): null {
  expect(error).toMatchObject({ status: 423 })
  return null
}

test('who frees a chunk too late does not free what was sent again since', async () => {
  const root = await useFolder()
  const gate = createGate()
  const a = await useUploads(undefined, root, {
    lockerOf: lockerOf('a', { faint: true }),
    ledgerOf: (ledger) => ({
      ...ledger,
      async cell(id, index) {
        await gate.pass()
        return ledger.cell(id, index)
      },
    }),
  })
  const b = await useUploads(undefined, root, { lockerOf: lockerOf('b') })
  const id = await createUpload(b.uploads, { dialect: 'native', size: 2 * CELL })
  await putChunk(b.uploads, id, 0, '0123456789')
  const freeing = a.uploads.freeChunk(id, 0)
  await gate.reached
  await b.uploads.freeChunk(id, 0)
  await putChunk(b.uploads, id, 0, 'abcdefghij')
  gate.open()
  await expect(freeing).rejects.toMatchObject({ status: 423 })
  expect((await b.uploads.missingChunks(id)).missing_chunk_indexes).toEqual([1])
})

test('the verdict on a file of one who lost the work on it to another process counts nothing', async () => {
  const root = await useFolder()
  const [first, second] = [createGate(), createGate()]
  const bytes = '0123456789'
  const a = await useUploads(
    (store) => ({
      ...store,
      async *read() {
        await first.pass()
        yield Buffer.from('something else')
      },
    }),
    root,
    { lockerOf: lockerOf('a', { faint: true }) },
  )
  const b = await useUploads(
    (store) => ({
      ...store,
      async *read(upload, range) {
        await second.pass()
        yield* store.read(upload, range)
      },
    }),
    root,
    { lockerOf: lockerOf('b') },
  )
  const checksum = { dialect: 'native', size: CELL, checksumSha256: sha256(Buffer.from(bytes)) } as const
  const id = await createUpload(a.uploads, checksum)
  await putChunk(b.uploads, id, 0, bytes)
  const early = a.uploads.complete(id)
  await first.reached
  const late = b.uploads.complete(id)
  await second.reached
  first.open()
  await expect(early).rejects.toMatchObject({ status: 409 })
  expect((await b.ledger.get(id))?.status).toBe('FINALIZING')
  second.open()
  await late
  expect((await b.ledger.get(id))?.status).toBe('COMPLETED')
})

test('a chunk whose upload is deleted while it waits for its turn is not written', async () => {
  const gate = createGate()
  const locker = createLocker({ lookMs: 10 })
  const { uploads, root } = await useUploads(undefined, undefined, {
    lockerOf: () => ({
      ...locker,
      async acquire(...asked) {
        await gate.pass()
        return locker.acquire(...asked)
      },
    }),
  })
  const id = await createUpload(uploads, { dialect: 'native' })
  const putting = putChunk(uploads, id, 0, '0123456789')
  await gate.reached
  await uploads.remove(id)
  gate.open()
  await expect(putting).rejects.toMatchObject({ status: 404 })
  expect(await filesIn(path.join(root, 'files'))).toHaveLength(0)
})

test('a PATCH whose upload is deleted by another process, with its bytes, finds nothing', async () => {
  const root = await useFolder()
  const gate = createGate()
  const { uploads } = await useUploads(
    (store) => ({
      ...store,
      async writeAt() {
        await gate.pass()
        return { bytes: 0, failure: new HttpError('storage_lost') }
      },
    }),
    root,
    { lockerOf: lockerOf('stopped', { faint: true }) },
  )
  const id = await createUpload(uploads)
  const appending = append(uploads, id, 'hello')
  await gate.reached
  const other = await useUploads(undefined, root, { lockerOf: lockerOf('other') })
  await other.uploads.remove(id)
  gate.open()
  await expect(appending).rejects.toMatchObject({ status: 404 })
})

test('the first bytes of an upload that is deleted as soon as it is created leave no file', async () => {
  const { uploads, ledger, root } = await useUploads()
  const created = await ledger.get(await createUpload(uploads))
  if (!created) throw new Error('it is not there')
  await uploads.remove(created.id)
  const first = { id: created.id, created, offset: 0, declaredSize: null, checksum: null }
  const appending = uploads.append({ ...first, body: bodyOf(Buffer.from('hello')), turn: turnOf() })
  await expect(appending).rejects.toMatchObject({ status: 404 })
  await expect(fileOf(root, created.id)).rejects.toMatchObject({ code: 'ENOENT' })
})

test('a chunk whose hash can not be opened fails, and gives its place back', async () => {
  const { deps, ...made } = await useUploads()
  const id = await createUpload(made.uploads, { dialect: 'native' })
  const unlucky = createUploads({
    ...deps,
    openHash: () => {
      throw new Error('no hash')
    },
  })
  const chunk = { id, index: 0, body: bodyOf(Buffer.from('0123456789')), turn: turnOf() }
  await expect(unlucky.putChunk({ ...chunk, sha256: ['00'] })).rejects.toThrow('no hash')
  await putChunk(made.uploads, id, 0, '0123456789')
  expect((await made.uploads.get(id)).offset).toBe(10)
})

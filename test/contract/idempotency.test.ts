import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Once } from '../../src/core/ports/ledger.ts'
import type { NewUpload } from '../../src/core/upload.ts'
import { createLedger } from '../../src/ledger/ledger.ts'
import { openDb } from '../../src/ledger/open.ts'
import type { Create } from '../../src/uploads/create.ts'
import { createUploads, type Uploads } from '../../src/uploads/use-cases.ts'
import { bodyOf, turnOf } from '../support/body.ts'
import { CELL, DAY, useUploads } from '../support/uploads.ts'
import { recording } from './ledger-statements.ts'

const onceOf = (key: string, fingerprint = key): Once => ({ ownerId: 'ada', key, fingerprint })
const fields = (): Create => ({
  id: randomUUID(),
  ownerId: 'ada',
  dialect: 'native',
  fileName: 'a',
  size: CELL,
  chunkSize: null,
  contentType: null,
  metadata: {},
  concat: null,
  checksumSha256: null,
})
const tell = ({ id }: NewUpload) => ({ id })
const put = (uploads: Uploads, id: string, once: Once | null) =>
  uploads.putChunk({ id, index: 0, body: bodyOf(Buffer.alloc(CELL)), turn: turnOf(), sha256: [], once })

test('a key stands for its request for as long as was said, and then for the next one', async () => {
  const { uploads, clock } = await useUploads()
  const once = onceOf('k')
  const first = await uploads.createOnce(fields(), once, tell)
  clock.now = new Date(clock.now.getTime() + DAY - 1)
  expect(await uploads.createOnce(fields(), once, tell)).toEqual(first)
  await expect(uploads.complete(first.id, onceOf('k', 'other'))).rejects.toMatchObject({ status: 409 })
  clock.now = new Date(clock.now.getTime() + 1)
  const second = await uploads.createOnce(fields(), onceOf('k', 'other'), tell)
  expect(second).not.toEqual(first)
  await expect(uploads.createOnce(fields(), once, tell)).rejects.toMatchObject({ status: 409 })
})

test('keys whose time is over are forgotten by the thousand, and no others', async () => {
  const { uploads, ledger, clock } = await useUploads()
  const note = (key: string) =>
    ledger.note({ ...onceOf(key), answer: null, expiresAt: new Date(clock.now.getTime() + DAY) }, clock.now)
  await Promise.all(Array.from({ length: 2_300 }, (_, i) => note(`old ${i}`)))
  clock.now = new Date(clock.now.getTime() + DAY)
  await note('new')
  const stopped = AbortSignal.abort()
  expect(await uploads.forgetKeys(stopped)).toBe(0)
  expect(await uploads.forgetKeys()).toBe(2_300)
  expect(await uploads.forgetKeys()).toBe(0)
  expect(await uploads.wasDone(onceOf('new'))).toBe(true)
})

test('what is asked again is answered when it would be refused by now', async () => {
  const { uploads, deps } = await useUploads()
  const first = await uploads.createOnce(fields(), onceOf('k'), tell)
  const strict = createUploads({ ...deps, limits: { ...deps.limits, maxUploadBytes: 1 } })
  await expect(strict.createOnce(fields(), onceOf('other'), tell)).rejects.toMatchObject({ status: 413 })
  expect(await strict.createOnce(fields(), onceOf('k'), tell)).toEqual(first)
})

test('twins that race with one key are both answered; a stranger among them is refused', async () => {
  const { uploads } = await useUploads()
  const ids = await Promise.all([fields(), fields()].map(async (create) => (await uploads.create(create)).id))
  const twins = await Promise.all([1, 2, 3].map(() => put(uploads, ids[0] as string, onceOf('k'))))
  expect(twins).toHaveLength(3)

  const rivals = await Promise.allSettled(
    [ids[0], ids[1]].map((id) => put(uploads, id as string, onceOf('race', id as string))),
  )
  expect(rivals.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  expect(rivals.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { status: 409 } })
})

test('without a key nothing more is asked of the database, and with one a single statement', async () => {
  const { root, deps } = await useUploads()
  const asked: string[] = []
  const ledger = createLedger(recording(await openDb(`file:${path.join(root, 'uploads.db')}`), asked))
  onTestFinished(() => ledger.close())
  const uploads = createUploads({ ...deps, ledger })
  const countOf = async (work: () => Promise<unknown>) => {
    asked.length = 0
    await work()
    return asked.length
  }
  const [plain, keyed] = [fields(), fields()]
  const init = await countOf(() => uploads.create(plain))
  // The look, and the key beside the upload in one transaction.
  expect(await countOf(() => uploads.createOnce(keyed, onceOf('init'), tell))).toBe(init + 2)
  expect(await countOf(() => uploads.createOnce(keyed, onceOf('init'), tell))).toBe(1)

  const chunk = await countOf(() => put(uploads, plain.id, null))
  expect(await countOf(() => put(uploads, keyed.id, onceOf('chunk')))).toBe(chunk + 1)
  const again = await countOf(() => put(uploads, plain.id, null))
  expect(await countOf(() => put(uploads, keyed.id, onceOf('chunk')))).toBe(again)

  const complete = await countOf(() => uploads.complete(plain.id))
  expect(await countOf(() => uploads.complete(keyed.id, onceOf('complete')))).toBe(complete + 1)
  expect(await countOf(() => uploads.complete(keyed.id, onceOf('complete')))).toBe(1)
  expect(asked.join()).not.toContain('INSERT')
})

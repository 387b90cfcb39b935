import { expect, test } from 'vitest'
import { watchedLedger, type LifeEvent } from '../../src/observe/lifecycle.ts'
import { append, createUpload, DAY, putChunk, useUploads } from '../support/uploads.ts'

/** The use cases on a ledger that is watched. */
async function useWatched() {
  const events: LifeEvent[] = []
  const made = await useUploads(undefined, undefined, {
    ledgerOf: (ledger) => watchedLedger(ledger, (event) => events.push(event)),
  })
  const kindsOf = (id: string) => events.filter(({ upload }) => upload.id === id).map(({ kind }) => kind)
  return { ...made, events, kindsOf }
}

const HELLO = '2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'

test('an upload is told as created and, with its last byte, as completed', async () => {
  const { uploads, events, kindsOf } = await useWatched()
  const id = await createUpload(uploads)
  expect(kindsOf(id)).toEqual(['created'])
  await append(uploads, id, '1234567890123456789012345')
  expect(kindsOf(id)).toEqual(['created', 'completed'])
  expect(events.at(-1)?.upload).toMatchObject({ ownerId: 'ada', dialect: 'tus', size: 25 })
})

test('an empty upload of tus is told as both at once', async () => {
  const { uploads, kindsOf } = await useWatched()
  expect(kindsOf(await createUpload(uploads, { size: 0 }))).toEqual(['created', 'completed'])
})

test('of chunks that come at once and fill an upload, one completes it', async () => {
  const { uploads, kindsOf } = await useWatched()
  const id = await createUpload(uploads, { size: 30 })
  await Promise.all([0, 1, 2].map((index) => putChunk(uploads, id, index, '1234567890')))
  expect(kindsOf(id)).toEqual(['created', 'completed'])
})

test('an upload whose checksum is checked first is completed after it, once for all who wait', async () => {
  const { uploads, kindsOf } = await useWatched()
  const fields = { dialect: 'native', size: 5, checksumSha256: HELLO } as const
  const id = await createUpload(uploads, fields)
  await putChunk(uploads, id, 0, 'hello')
  expect(kindsOf(id)).toEqual(['created'])
  await Promise.all([uploads.complete(id), uploads.complete(id), uploads.complete(id)])
  await uploads.complete(id)
  expect(kindsOf(id)).toEqual(['created', 'completed'])
})

test('a checksum that does not fit tells nothing, since the upload goes on', async () => {
  const { uploads, kindsOf } = await useWatched()
  const id = await createUpload(uploads, { dialect: 'native', size: 5, checksumSha256: HELLO })
  await putChunk(uploads, id, 0, 'jello')
  await expect(uploads.complete(id)).rejects.toMatchObject({ code: 'conflict' })
  expect(kindsOf(id)).toEqual(['created'])
})

test('a length that is declared last completes an upload', async () => {
  const { uploads, kindsOf } = await useWatched()
  const id = await createUpload(uploads, { size: null })
  await append(uploads, id, 'hello')
  await append(uploads, id, '', 5, 5)
  expect(kindsOf(id)).toEqual(['created', 'completed'])
})

test('of two who delete an upload at once, one is told to have', async () => {
  const { uploads, kindsOf } = await useWatched()
  const id = await createUpload(uploads)
  await Promise.allSettled([uploads.remove(id), uploads.remove(id)])
  expect(kindsOf(id)).toEqual(['created', 'deleted'])
})

test('an upload expires once, however often the reaper comes', async () => {
  const { uploads, clock, kindsOf } = await useWatched()
  const id = await createUpload(uploads)
  clock.now = new Date(clock.now.getTime() + 2 * DAY)
  for (let runs = 0; runs < 2; runs++)
    await uploads.reap((error) => {
      throw error
    })
  expect(kindsOf(id)).toEqual(['created', 'expired'])
})

test('a final upload of tus is created and completed; its parts never complete', async () => {
  const { uploads, kindsOf, events } = await useWatched()
  const part = await createUpload(uploads, { size: 5, concat: 'partial' })
  await append(uploads, part, 'hello')
  const wanted = {
    ownerId: 'ada',
    fileName: 'whole',
    contentType: null,
    metadata: {},
    concat: `final;/files/${part}`,
    parts: [part],
  }
  const first = await uploads.concatenate({ ...wanted, id: 'f0000000-0000-4000-8000-000000000001' })
  // The same list gives the same upload.
  await uploads.concatenate({ ...wanted, id: 'f0000000-0000-4000-8000-000000000002' })
  expect(kindsOf(part)).toEqual(['created'])
  expect(kindsOf(first.id)).toEqual(['created', 'completed'])
  expect(events).toHaveLength(3)
})

test('whoever listens and fails harms nobody', async () => {
  const { uploads } = await useUploads(undefined, undefined, {
    ledgerOf: (ledger) =>
      watchedLedger(ledger, () => {
        throw new Error('no')
      }),
  })
  const id = await createUpload(uploads)
  await append(uploads, id, '1234567890123456789012345')
  expect((await uploads.get(id)).status).toBe('COMPLETED')
})

import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import type { UploadLedger } from '../../src/core/ports/ledger.ts'
import type { Status } from '../../src/core/upload.ts'
import {
  bytes,
  commitOf,
  EXPIRY,
  LATER,
  minutesAfter,
  newUpload,
  range,
  START,
  uploadIn,
  wholeCell,
  type Fixture,
  declares,
} from './ledger-fixture.ts'

const MAX = Number.MAX_SAFE_INTEGER

export function keepsUploads(fixture: () => Fixture): void {
  it('create answers the row that get answers, with every field as given', async () => {
    const { ledger, other } = fixture()
    const fresh = newUpload({
      dialect: 'tus',
      fileName: '日本 "x"\n.bin',
      size: MAX,
      chunkSize: MAX,
      contentType: 'text/plain',
      metadata: { a: [1, 'x', null], ü: { deep: true } },
      checksumSha256: 'ff'.repeat(32),
    })
    const created = await ledger.create(fresh)
    expect(created).toEqual({
      ...fresh,
      status: 'INITIATED',
      offset: 0,
      appendOffset: null,
      storedCells: 0,
      storageId: null,
      staged: false,
      updatedAt: START,
    })
    expect(await ledger.get(fresh.id)).toEqual(created)
    expect(await other.get(fresh.id)).toEqual(created)
  })

  it('text of any language comes back as it went in, and metadata in its order', async () => {
    const { ledger, other } = fixture()
    const text = 'ß 日本 العربية 🏳️‍🌈 e\u0301 \u{10ffff} \ufffe \u200b \\u0000 \u0001\u001f\u007f \'"`;--\n\r\t'
    const metadata = {
      zz: text,
      a: { [text]: [text, 1.5, -0.1, 1e300, true, null, {}] },
      '': 'no key',
      B: '',
    }
    const { id } = await ledger.create(
      newUpload({ ownerId: text, fileName: text, contentType: text, concat: text, metadata }),
    )
    const upload = await other.get(id)
    expect(upload).toMatchObject({ ownerId: text, fileName: text, contentType: text, concat: text, metadata })
    expect(JSON.stringify(upload?.metadata)).toBe(JSON.stringify(metadata))
  })

  it('create refuses an id that is taken and leaves the first upload alone', async () => {
    const { ledger } = fixture()
    const first = await ledger.create(newUpload())
    await expect(ledger.create(newUpload({ id: first.id, fileName: 'b.bin' }))).rejects.toThrow()
    expect(await ledger.get(first.id)).toEqual(first)
  })

  it('a deferred length is null, and offsets up to 2^53-1 come out as the numbers they are', async () => {
    const { ledger } = fixture()
    const { id } = await ledger.create(newUpload({ size: null, chunkSize: MAX }))
    expect((await ledger.get(id))?.size).toBeNull()
    const cell = { index: 0, from: 0, to: MAX - 1, whole: false }
    const done = await ledger.commit(commitOf(id, [cell], { appendOffset: MAX - 2 }))
    expect(done.upload).toMatchObject({ offset: MAX - 1, appendOffset: MAX - 2, chunkSize: MAX })
    expect(await ledger.get(id)).toEqual(done.upload)
    expect(await ledger.cell(id, 0)).toMatchObject({ index: 0, bytes: MAX - 1, whole: false })
  })

  it('get answers null for an id that was never given out', async () => {
    expect(await fixture().ledger.get(randomUUID())).toBeNull()
  })

  it('cell tells partial and whole cells apart and answers null where no byte is committed', async () => {
    const { ledger } = fixture()
    const { id } = await ledger.create(newUpload())
    await ledger.commit(commitOf(id, [bytes(1, 0, 4), wholeCell(4)]))
    expect(await ledger.cell(id, 0)).toBeNull()
    expect(await ledger.cell(id, 1)).toMatchObject({ index: 1, bytes: 4, whole: false })
    expect(await ledger.cell(id, 4)).toMatchObject({ index: 4, bytes: 5, whole: true })
    expect(await ledger.cell(randomUUID(), 0)).toBeNull()
  })

  it('storedCells lists the whole cells only, ascending', async () => {
    const { ledger } = fixture()
    const { id } = await ledger.create(newUpload({ size: 1000 }))
    for (const index of [42, 7, 99, 0]) await ledger.commit(commitOf(id, [wholeCell(index, 10)]))
    await ledger.commit(commitOf(id, [bytes(3, 0, 9)]))
    expect(await ledger.storedCells(id)).toEqual([0, 7, 42, 99])
    expect(await ledger.storedCells(randomUUID())).toEqual([])
  })

  it('a list is the caller’s own, newest first, in pages without gap or repetition', async () => {
    const { ledger } = fixture()
    const ownerId = randomUUID()
    await ledger.create(newUpload({ ownerId: 'somebody else' }))
    // Three share each instant, so that ids have to decide.
    const created = await Promise.all(
      range(10).map((i) => ledger.create(newUpload({ ownerId, createdAt: minutesAfter(START, i % 3) }))),
    )
    const expected = created
      .toSorted((a, b) => +b.createdAt - +a.createdAt || (a.id < b.id ? 1 : -1))
      .map((upload) => upload.id)
    expect(await pages(ledger, { ownerId, limit: 4 })).toEqual([
      expected.slice(0, 4),
      expected.slice(4, 8),
      expected.slice(8),
    ])
    expect(await pages(ledger, { ownerId, limit: 10 })).toEqual([expected])
    expect(await pages(ledger, { ownerId: randomUUID(), limit: 10 })).toEqual([[]])
  })

  it('a page starts behind the last one, whatever was created or deleted meanwhile', async () => {
    const { ledger } = fixture()
    const ownerId = randomUUID()
    const [oldest, middle, newest] = await createEach(ledger, ownerId, 3)
    const first = await ledger.list({ ownerId, limit: 2 })
    expect(first.uploads.map(({ id }) => id)).toEqual([newest, middle])
    await ledger.markDeleted(middle as string, LATER)
    await ledger.create(newUpload({ ownerId, createdAt: minutesAfter(START, 9) }))
    const second = await ledger.list({ ownerId, limit: 2, cursor: first.nextCursor as string })
    expect(second.uploads.map(({ id }) => id)).toEqual([oldest])
    expect(second.nextCursor).toBeNull()
  })

  it('a list by status shows FINALIZING as IN_PROGRESS, and pages through both in one order', async () => {
    const { ledger } = fixture()
    const ownerId = randomUUID()
    const ids = await createEach(ledger, ownerId, 6)
    for (const id of ids.slice(1))
      await ledger.commit(
        commitOf(
          id,
          range(5).map((i) => wholeCell(i)),
        ),
      )
    for (const id of [ids[2], ids[4]]) await ledger.transition(id as string, 'FINALIZING', LATER)
    for (const to of ['FINALIZING', 'COMPLETED'] as const)
      await ledger.transition(ids[5] as string, to, LATER)

    const shown = async (status: Status) => (await pages(ledger, { ownerId, status, limit: 3 })).flat()
    expect(await shown('INITIATED')).toEqual([ids[0]])
    expect(await shown('IN_PROGRESS')).toEqual([ids[4], ids[3], ids[2], ids[1]])
    expect(await shown('COMPLETED')).toEqual([ids[5]])
    expect(await shown('FAILED')).toEqual([])
  })

  it('a list never shows deleted uploads', async () => {
    const { ledger } = fixture()
    const ownerId = randomUUID()
    const [kept, deleted] = await createEach(ledger, ownerId, 2)
    await ledger.markDeleted(deleted as string, LATER)
    expect((await ledger.list({ ownerId, limit: 9 })).uploads.map(({ id }) => id)).toEqual([kept])
    expect((await ledger.list({ ownerId, status: 'ABORTED', limit: 9 })).uploads).toEqual([])
  })

  const forged = [
    '9',
    '0000-01-01T00:00:00.000Z',
    '-000001-01-01T00:00:00.000Z',
    '+275760-09-13T00:00:00.000Z',
  ].map((time) => Buffer.from(`${time} ${randomUUID()}`).toString('base64url'))
  it.each(['', 'x', '!!!', '%00', 'MjAzMA', ...forged])(
    'a cursor %j that no list gave out is unprocessable',
    async (cursor) => {
      const asked = fixture().ledger.list({ ownerId: 'ada', limit: 1, cursor })
      await expect(asked).rejects.toMatchObject({
        code: 'unprocessable',
        message: expect.stringMatching(/^cursor: /) as string,
      })
    },
  )

  it('a deleted upload is gone for get, for commits and for every change, and is deleted once', async () => {
    const { ledger } = fixture()
    const id = await uploadIn(ledger, 'IN_PROGRESS', true)
    expect(await ledger.markDeleted(id, LATER)).toMatchObject({ id, status: 'ABORTED' })
    expect(await ledger.markDeleted(id, LATER)).toBeNull()
    expect(await ledger.get(id)).toBeNull()
    expect(await ledger.commit(commitOf(id, [wholeCell(0)]))).toEqual({ ok: false, upload: null })
    expect(await ledger.freeCell(id, 0, LATER)).toBe(false)
    expect(await declares(ledger, id, 45)).toBe(false)
    expect(await ledger.transition(id, 'FINALIZING', LATER)).toBe(false)
    expect(await ledger.expire(id, minutesAfter(EXPIRY, 9999))).toBe(false)
    expect(await ledger.markDeleted(randomUUID(), LATER)).toBeNull()
  })

  it('of parallel markDeleted calls exactly one gets the upload', async () => {
    const { ledger, other } = fixture()
    const { id } = await ledger.create(newUpload())
    const calls = range(10).map((i) => (i % 2 ? ledger : other).markDeleted(id, LATER))
    expect((await Promise.all(calls)).filter(Boolean)).toHaveLength(1)
  })

  it('purge drops the upload and its cells, twice without complaint', async () => {
    const { ledger } = fixture()
    const id = await uploadIn(ledger, 'IN_PROGRESS', true)
    const neighbour = await uploadIn(ledger, 'IN_PROGRESS', true)
    await ledger.purge(id)
    await ledger.purge(id)
    expect(await ledger.get(id)).toBeNull()
    expect(await ledger.storedCells(id)).toEqual([])
    expect(await ledger.storedCells(neighbour)).toHaveLength(5)
    // Not even the id is taken any more.
    await ledger.create(newUpload({ id }))
    expect(await ledger.storedCells(id)).toEqual([])
  })

  it('check resolves while the database answers', async () => {
    await expect(fixture().ledger.check()).resolves.toBeUndefined()
  })
}

async function createEach(ledger: UploadLedger, ownerId: string, count: number): Promise<string[]> {
  const created = range(count).map((i) =>
    ledger.create(newUpload({ ownerId, createdAt: minutesAfter(START, i) })),
  )
  return (await Promise.all(created)).map(({ id }) => id)
}

async function pages(
  ledger: UploadLedger,
  query: { ownerId: string; status?: Status; limit: number },
): Promise<string[][]> {
  const all: string[][] = []
  let cursor: string | null | undefined
  do {
    const page = await ledger.list({ ...query, ...(cursor && { cursor }) })
    all.push(page.uploads.map(({ id }) => id))
    cursor = page.nextCursor
  } while (cursor)
  return all
}

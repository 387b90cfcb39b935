import { randomUUID } from 'node:crypto'
import { expect, it } from 'vitest'
import { isOpen, STATUSES } from '../../src/core/upload.ts'
import {
  bytes,
  CHUNK,
  commitOf,
  LATER,
  LATER_EXPIRY,
  minutesAfter,
  newUpload,
  progressOf,
  range,
  uploadIn,
  wholeCell,
  type Fixture,
} from './ledger-fixture.ts'

export function countsBytes(fixture: () => Fixture): void {
  const create = async (fields?: Parameters<typeof newUpload>[0]) =>
    (await fixture().ledger.create(newUpload(fields))).id

  it('a commit answers the row after it, which is the one that get answers then', async () => {
    const { ledger, other } = fixture()
    const id = await create()
    const done = await ledger.commit(commitOf(id, [bytes(0, 0, 3)]))
    expect(done).toMatchObject({ ok: true, reached: null })
    expect(progressOf(done.upload)).toEqual({ status: 'IN_PROGRESS', offset: 3, storedCells: 0 })
    expect(done.upload).toMatchObject({ updatedAt: LATER, expiresAt: LATER_EXPIRY })
    expect(await other.get(id)).toEqual(done.upload)
  })

  it('the offset runs over the cells of one commit and into the next cell', async () => {
    const { ledger } = fixture()
    const id = await create()
    await ledger.commit(commitOf(id, [bytes(0, 0, 7)]))
    const done = await ledger.commit(commitOf(id, [bytes(0, 7, 10), wholeCell(1), bytes(2, 0, 1)]))
    expect(progressOf(done.upload)).toEqual({ status: 'IN_PROGRESS', offset: 21, storedCells: 2 })
    expect(await ledger.storedCells(id)).toEqual([0, 1])
  })

  it('cells out of order leave the offset alone until the gap before them closes', async () => {
    const { ledger } = fixture()
    const id = await create()
    const offsets: unknown[] = []
    for (const index of [3, 1, 4, 0, 2]) {
      const { upload } = await ledger.commit(commitOf(id, [wholeCell(index)]))
      offsets.push([upload?.offset, upload?.storedCells])
    }
    expect(offsets).toEqual([
      [0, 1],
      [0, 2],
      [0, 3],
      [20, 4],
      [45, 5],
    ])
  })

  it('a gap that closes takes in the partial bytes behind the run of whole cells', async () => {
    const { ledger } = fixture()
    const id = await create()
    await ledger.commit(commitOf(id, [wholeCell(1), wholeCell(2), bytes(3, 0, 6)]))
    const done = await ledger.commit(commitOf(id, [wholeCell(0)]))
    expect(done.upload?.offset).toBe(36)
  })

  it('partial bytes beyond the prefix move nothing', async () => {
    const { ledger } = fixture()
    const id = await create()
    const done = await ledger.commit(commitOf(id, [bytes(2, 0, 6)]))
    expect(progressOf(done.upload)).toEqual({ status: 'IN_PROGRESS', offset: 0, storedCells: 0 })
  })

  it('10,000 cells that came backwards become one prefix with the first cell', async () => {
    const { ledger } = fixture()
    const id = await create({ size: 100_000 })
    const later = range(9_999).map((i) => wholeCell(9_999 - i, CHUNK))
    expect((await ledger.commit(commitOf(id, later))).upload?.offset).toBe(0)
    const done = await ledger.commit(commitOf(id, [wholeCell(0)], { whenFull: 'FINALIZING' }))
    expect(done).toMatchObject({ ok: true, reached: 'FINALIZING' })
    expect(progressOf(done.upload)).toEqual({ status: 'FINALIZING', offset: 100_000, storedCells: 10_000 })
  })

  it('a cell that does not have `from` bytes refuses the whole commit, and nothing changes', async () => {
    const { ledger } = fixture()
    const id = await create()
    const before = (await ledger.commit(commitOf(id, [bytes(0, 0, 5)]))).upload
    const stale = [bytes(0, 4, 9), bytes(0, 6, 9), bytes(0, 0, 5), bytes(1, 1, 5)]
    for (const cell of stale) {
      const refused = await ledger.commit(commitOf(id, [wholeCell(2), cell], { at: minutesAfter(LATER, 1) }))
      expect(refused).toEqual({ ok: false, upload: before })
    }
    expect(await ledger.get(id)).toEqual(before)
    expect(await ledger.storedCells(id)).toEqual([])
  })

  it('a whole cell refuses every commit', async () => {
    const { ledger } = fixture()
    const id = await create()
    await ledger.commit(commitOf(id, [wholeCell(0)]))
    for (const cell of [wholeCell(0), bytes(0, 10, 10), bytes(0, 0, 3)])
      expect((await ledger.commit(commitOf(id, [cell]))).ok).toBe(false)
  })

  it('bytes past the end of their cell or of the file are refused', async () => {
    const { ledger } = fixture()
    const id = await create()
    for (const cell of [bytes(0, 0, 11), bytes(4, 0, 6), bytes(5, 0, 1)])
      expect((await ledger.commit(commitOf(id, [cell]))).ok).toBe(false)
    expect((await ledger.get(id))?.status).toBe('INITIATED')
  })

  it('a cell that got no byte is no cell, and the upload stays INITIATED', async () => {
    const { ledger } = fixture()
    const id = await create()
    const done = await ledger.commit(commitOf(id, [bytes(0, 0, 0)]))
    expect(done).toMatchObject({ ok: true, upload: { status: 'INITIATED' } })
    expect(await ledger.cell(id, 0)).toBeNull()
  })

  it.each(STATUSES)('an upload in %s takes bytes only if it is open', async (status) => {
    const { ledger } = fixture()
    const full = status !== 'INITIATED' && status !== 'IN_PROGRESS'
    const id = await uploadIn(ledger, status, full)
    if (full) {
      const before = await ledger.get(id)
      expect(before?.status).toBe(status)
      expect(await ledger.commit(commitOf(id, []))).toEqual({ ok: false, upload: before })
      expect(await ledger.get(id)).toEqual(before)
    }
    expect((await ledger.commit(commitOf(id, full ? [] : [wholeCell(1)]))).ok).toBe(isOpen(status))
  })

  it('an upload that nobody knows is refused without a row', async () => {
    const refused = await fixture().ledger.commit(commitOf(randomUUID(), [wholeCell(0)]))
    expect(refused).toEqual({ ok: false, upload: null })
  })

  it('the place where a PATCH ended is kept where it is not the offset, and a chunk leaves it alone', async () => {
    const { ledger } = fixture()
    const id = await create()
    await ledger.commit(commitOf(id, [wholeCell(1)]))
    const patch = await ledger.commit(commitOf(id, [wholeCell(0)], { appendOffset: 10 }))
    expect(patch.upload).toMatchObject({ offset: 20, appendOffset: 10 })
    const chunk = await ledger.commit(commitOf(id, [wholeCell(2)]))
    expect(chunk.upload).toMatchObject({ offset: 30, appendOffset: 10 })
    const empty = await ledger.commit(commitOf(id, [], { appendOffset: 20 }))
    expect(empty.upload).toMatchObject({ offset: 30, appendOffset: 20 })
    const caughtUp = await ledger.commit(commitOf(id, [], { appendOffset: 30 }))
    expect(caughtUp.upload).toMatchObject({ offset: 30, appendOffset: null })
    expect(await ledger.get(id)).toEqual(caughtUp.upload)
  })

  it('whenFull waits for the last cell, whichever it is', async () => {
    const { ledger } = fixture()
    const id = await create()
    for (const index of [4, 0, 3, 1]) {
      const done = await ledger.commit(commitOf(id, [wholeCell(index)], { whenFull: 'COMPLETED' }))
      expect(done).toMatchObject({ ok: true, reached: null })
    }
    const last = await ledger.commit(commitOf(id, [wholeCell(2)], { whenFull: 'COMPLETED' }))
    expect(last).toMatchObject({ ok: true, reached: 'COMPLETED', upload: { status: 'COMPLETED' } })
  })

  it('a full upload stays IN_PROGRESS without whenFull, and an empty commit with it moves it on', async () => {
    const { ledger } = fixture()
    const id = await create()
    const all = range(5).map((index) => wholeCell(index))
    expect(await ledger.commit(commitOf(id, all))).toMatchObject({
      reached: null,
      upload: { status: 'IN_PROGRESS', offset: 45 },
    })
    const moved = await ledger.commit(commitOf(id, [], { whenFull: 'FINALIZING' }))
    expect(moved).toMatchObject({ ok: true, reached: 'FINALIZING' })
  })

  it('an empty commit completes an upload of no bytes, and not one of unknown length', async () => {
    const { ledger } = fixture()
    const empty = commitOf(await create({ size: 0 }), [], { whenFull: 'COMPLETED' })
    expect(await ledger.commit(empty)).toMatchObject({ ok: true, reached: 'COMPLETED' })
    const deferred = commitOf(await create({ size: null }), [], { whenFull: 'COMPLETED' })
    expect(await ledger.commit(deferred)).toMatchObject({ reached: null, upload: { status: 'INITIATED' } })
  })

  it('100 commits in parallel to different cells all count, and exactly one reaches the end', async () => {
    const { ledger, other } = fixture()
    const id = await create({ size: 1000 })
    const done = await Promise.all(
      range(100).map((index) =>
        (index % 2 ? ledger : other).commit(
          commitOf(id, [wholeCell(index, CHUNK)], { whenFull: 'FINALIZING' }),
        ),
      ),
    )
    expect(done.every(({ ok }) => ok)).toBe(true)
    expect(done.filter((each) => each.ok && each.reached === 'FINALIZING')).toHaveLength(1)
    expect(progressOf(await ledger.get(id))).toEqual({ status: 'FINALIZING', offset: 1000, storedCells: 100 })
    expect(await ledger.storedCells(id)).toEqual(range(100))
  })

  it('of two commits to one cell one wins, and the other sees what it left', async () => {
    const { ledger, other } = fixture()
    for (const rival of [ledger, other]) {
      const id = await create()
      const done = await Promise.all([
        ledger.commit(commitOf(id, [bytes(0, 0, 4)])),
        rival.commit(commitOf(id, [bytes(0, 0, 6)])),
      ])
      expect(done.filter(({ ok }) => ok)).toHaveLength(1)
      const offset = (await ledger.get(id))?.offset
      expect([4, 6]).toContain(offset)
      expect(done.map(({ upload }) => upload?.offset)).toContain(offset)
    }
  })

  it('a refused commit does not fail its neighbours in the same transaction', async () => {
    const { ledger } = fixture()
    const ids = await Promise.all(range(20).map(() => create()))
    const commits = ids.map((id, i) => commitOf(i % 4 === 3 ? randomUUID() : id, [bytes(0, i % 2, 5)]))
    const done = await Promise.all(commits.map((commit) => ledger.commit(commit)))
    expect(done.map(({ ok }) => ok)).toEqual(range(20).map((i) => i % 2 === 0))
    const offsets = await Promise.all(ids.map(async (id) => (await ledger.get(id))?.offset))
    expect(offsets).toEqual(range(20).map((i) => (i % 2 === 0 ? 5 : 0)))
  })

  it('commits called in order, without waiting, build on each other', async () => {
    const { ledger } = fixture()
    const id = await create()
    const parts = [bytes(0, 0, 4), bytes(0, 4, 10), bytes(1, 0, 5), bytes(1, 5, 10), bytes(2, 0, 1)]
    const done = await Promise.all(parts.map((part) => ledger.commit(commitOf(id, [part]))))
    expect(done.map(({ ok, upload }) => ok && upload?.offset)).toEqual([4, 10, 15, 20, 21])
  })
}

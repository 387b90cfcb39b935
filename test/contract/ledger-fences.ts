import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { Fence, Lease } from '../../src/core/ports/locker.ts'
import { commitOf, LATER, newUpload, progressOf, range, wholeCell } from './ledger-fixture.ts'
import { newLease, NO_TIME, rival, TTL_MS, type Peer } from './ledger-peer.ts'

const fenceOf = ({ place, token }: Lease): Fence => ({ place, token })

/** Nothing counts that was done under a lease which another process has taken since. */
export function fencesCommits(peers: () => { a: Peer; b: Peer }): void {
  const create = async (size = 45) => (await peers().a.ledger.create(newUpload({ size }))).id
  const underOf = (id: string, index: number, leases: Lease[]) =>
    commitOf(id, [wholeCell(index, 10)], { fences: leases.map(fenceOf) })

  it('a commit counts while all its fences stand, also those of an expired lease that nobody took', async () => {
    const { a } = peers()
    const id = await create()
    const [append, cell] = [newLease('append', id), newLease(0, id)]
    await a.leases.take(append, TTL_MS)
    await a.leases.take(cell, NO_TIME)
    expect(await a.ledger.commit(underOf(id, 0, [append, cell]))).toMatchObject({ ok: true })
  })

  it('a commit is refused when one of its fences has fallen, and changes nothing', async () => {
    const { a, b } = peers()
    const id = await create()
    const [append, cell] = [newLease('append', id), newLease(0, id)]
    await a.leases.take(append, TTL_MS)
    await a.leases.take(cell, NO_TIME)
    await b.leases.take(rival(cell), TTL_MS)
    const refused = await a.ledger.commit(underOf(id, 0, [append, cell]))
    expect([refused.ok, progressOf(refused.upload)]).toEqual([
      false,
      { status: 'INITIATED', offset: 0, storedCells: 0 },
    ])
    expect(await a.ledger.cell(id, 0)).toBeNull()
  })

  it('a fence does not stand again when the place is free again', async () => {
    const { a, b } = peers()
    const id = await create()
    const lease = newLease(0, id)
    await a.leases.take(lease, NO_TIME)
    const next = rival(lease)
    await b.leases.take(next, TTL_MS)
    await b.leases.release(next)
    expect((await a.ledger.commit(underOf(id, 0, [lease]))).ok).toBe(false)
  })

  it('a fence of another upload is none', async () => {
    const { a } = peers()
    const lease = newLease(0, await create())
    await a.leases.take(lease, TTL_MS)
    expect((await a.ledger.commit(underOf(await create(), 0, [lease]))).ok).toBe(false)
  })

  it('commits of one group are each judged by their own fences', async () => {
    const { a, b } = peers()
    const id = await create(200)
    const other = await create(200)
    const leases = range(10).map((index) => newLease(index, index % 2 ? id : other))
    await Promise.all(leases.map((lease) => a.leases.take(lease, NO_TIME)))
    const stale = leases.filter(({ place }) => Number(place) % 3 === 0)
    await Promise.all(stale.map((lease) => b.leases.take(rival(lease), TTL_MS)))
    const commits = [
      ...leases.map((lease) => underOf(lease.id, Number(lease.place), [lease])),
      commitOf(id, [wholeCell(12, 10)]),
    ]
    const done = await Promise.all(commits.map((commit) => a.ledger.commit(commit)))
    expect(done.map(({ ok }) => ok)).toEqual([...range(10).map((index) => index % 3 !== 0), true])
    expect(await a.ledger.storedCells(id)).toEqual([1, 5, 7, 12])
    expect(await a.ledger.storedCells(other)).toEqual([2, 4, 8])
  })

  it('a commit with a fence for each of 6,000 cells is judged by all of them', async () => {
    const { a, b } = peers()
    const id = await create(60_000)
    const leases = range(6_000).map((index) => newLease(index, id))
    await Promise.all(leases.map((lease) => a.leases.take(lease, NO_TIME)))
    const cells = range(6_000).map((index) => wholeCell(index, 10))
    const commit = () => a.ledger.commit(commitOf(id, cells, { fences: leases.map(fenceOf) }))
    const last = leases.at(-1) as Lease
    await b.leases.take(rival(last), NO_TIME)
    expect((await commit()).ok).toBe(false)
    await a.leases.take(last, TTL_MS)
    expect((await commit()).ok).toBe(true)
  })

  it('freeing a cell and moving an upload on are fenced as well', async () => {
    const { a, b } = peers()
    const id = await create()
    await a.ledger.commit(commitOf(id, [wholeCell(0)]))
    const lease = newLease(0, id)
    await a.leases.take(lease, NO_TIME)
    const next = rival(lease)
    await b.leases.take(next, TTL_MS)
    const fences = [fenceOf(lease)]
    expect(await a.ledger.freeCell(id, 0, LATER, fences)).toBe(false)
    expect(await a.ledger.transition(id, 'FAILED', LATER, 'lost', fences)).toBe(false)
    expect(await a.ledger.get(id)).toMatchObject({ status: 'IN_PROGRESS', offset: 10 })
    expect(await b.ledger.freeCell(id, 0, LATER, [fenceOf(next)])).toBe(true)
    expect(await b.ledger.transition(id, 'FAILED', LATER, 'lost', [fenceOf(next)])).toBe(true)
  })

  it('who has taken a place sees every commit that counted under the lease before', async () => {
    const { a, b } = peers()
    const id = await create(1_000)
    for (const index of range(80)) {
      const lease = newLease(index, id)
      await a.leases.take(lease, NO_TIME)
      const committing = a.ledger.commit(underOf(id, index, [lease]))
      // At every moment of the commit, sooner or later.
      await sleep(index % 10)
      expect(await b.leases.take(rival(lease), TTL_MS)).toBeNull()
      const seen = await b.ledger.cell(id, index)
      expect({ index, ok: (await committing).ok }).toEqual({ index, ok: seen !== null })
    }
  })
}

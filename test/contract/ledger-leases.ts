import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Lease, Leases } from '../../src/core/ports/locker.ts'
import { createLeases } from '../../src/ledger/leases.ts'
import { range } from './ledger-fixture.ts'
import { fencesCommits } from './ledger-fences.ts'
import { newLease, NO_TIME, openPeer, rival, TTL_MS, type Peer } from './ledger-peer.ts'

/**
 * What leases do, whatever database they are in.
 * @param migrated the URL of an empty database with its tables
 */
export function leasesContract(name: string, migrated: () => Promise<string>): void {
  describe(`leases on ${name}`, () => {
    let a: Peer
    let b: Peer
    beforeAll(async () => {
      const url = await migrated()
      a = await openPeer(url, 'a')
      b = await openPeer(url, 'b')
    })
    afterAll(async () => {
      await a.ledger.close()
      await b.ledger.close()
    })

    const peers = () => ({ a, b })
    describe('of places', () => holdsPlaces(peers))
    describe('as fences', () => fencesCommits(peers))
  })
}

const holds = async ({ leases }: Peer, lease: Lease): Promise<boolean> =>
  (await leases.renew([{ ...lease, idle: false }], TTL_MS)).has(lease.token)

function holdsPlaces(peers: () => { a: Peer; b: Peer }): void {
  it('a free place is taken, and the next one is told how it is held', async () => {
    const { a, b } = peers()
    const lease = newLease('append')
    expect(await a.leases.take(lease, TTL_MS)).toBeNull()
    const state = await b.leases.take(rival(lease), TTL_MS)
    expect(state).toMatchObject({ place: 'append', token: lease.token, idle: false })
    expect(state?.expiresInMs).toBeGreaterThan(0)
    expect(state?.expiresInMs).toBeLessThanOrEqual(TTL_MS)
  })

  it('other places of the upload, and the same place of another one, are free', async () => {
    const { a, b } = peers()
    const lease = newLease(1)
    await a.leases.take(lease, TTL_MS)
    for (const place of [0, 11, 'append', 'finish', 'reap'] as const)
      expect(await b.leases.take(newLease(place, lease.id), TTL_MS)).toBeNull()
    expect(await b.leases.take(newLease(1), TTL_MS)).toBeNull()
  })

  it('of many processes that come at once exactly one takes a place, free or expired', async () => {
    const { a, b } = peers()
    const owners = range(20).map((i) => createLeases((i % 2 ? a : b).db, `owner ${i}`))
    for (const expired of [false, true]) {
      const lease = newLease(3)
      if (expired) await a.leases.take(rival(lease), NO_TIME)
      const tries = owners.map((leases) => leases.take(rival(lease), TTL_MS))
      const refused = (await Promise.all(tries)).filter((state) => state !== null)
      expect(refused).toHaveLength(owners.length - 1)
      expect(new Set(refused.map(({ token }) => token)).size).toBe(1)
    }
  })

  it('takings that come together are each settled by themselves', async () => {
    const { a, b } = peers()
    const leases = range(50).map((place) => newLease(place))
    const held = leases.filter((_, i) => i % 3 === 0)
    await Promise.all(held.map((lease) => a.leases.take(lease, TTL_MS)))
    const states = await Promise.all(leases.map((lease) => b.leases.take(rival(lease), TTL_MS)))
    expect(states.map((state) => state?.token)).toEqual(
      leases.map(({ token }, i) => (i % 3 === 0 ? token : undefined)),
    )
  })

  it('processes that take, renew and release the same places in different orders are all answered', async () => {
    const { a, b } = peers()
    const id = randomUUID()
    const owners = range(4).map((i) => createLeases((i % 2 ? a : b).db, `mixed ${i}`))
    const run = async (leases: Leases, backwards: boolean) => {
      for (const round of range(10)) {
        const mine = range(20).map((i) => newLease(backwards ? 19 - i : i, id))
        await Promise.all(mine.map((lease) => leases.take(lease, round % 2 ? NO_TIME : 5)))
        await leases.renew(
          mine.map((lease, i) => ({ ...lease, idle: i % 2 === 0 })),
          5,
        )
        await Promise.all(mine.toReversed().map((lease) => leases.release(lease)))
      }
    }
    await Promise.all(owners.map((leases, i) => run(leases, i > 1)))
    expect(await a.leases.elsewhere(id)).toEqual([])
  })

  it('an expired lease is taken by another process; the first one learns it and can’t release what it lost', async () => {
    const { a, b } = peers()
    const lease = newLease()
    await a.leases.take(lease, NO_TIME)
    const next = rival(lease)
    expect(await b.leases.take(next, TTL_MS)).toBeNull()
    expect(await holds(a, lease)).toBe(false)
    await a.leases.release(lease)
    expect(await holds(b, next)).toBe(true)
  })

  it('an expired lease that nobody took since can be renewed', async () => {
    const { a, b } = peers()
    const lease = newLease()
    await a.leases.take(lease, NO_TIME)
    expect(await holds(a, lease)).toBe(true)
    expect(await b.leases.take(rival(lease), TTL_MS)).not.toBeNull()
  })

  it('a place that this very process has left without releasing it is its own at once', async () => {
    const { a, b } = peers()
    const left = newLease()
    await a.leases.take(left, TTL_MS)
    const next = rival(left)
    expect(await a.leases.take(next, TTL_MS)).toBeNull()
    expect([await holds(a, left), await holds(a, next)]).toEqual([false, true])
    expect(await b.leases.take(rival(left), TTL_MS)).toMatchObject({ token: next.token })
  })

  it('a released place is free, and releasing it again does no harm', async () => {
    const { a, b } = peers()
    const lease = newLease()
    await a.leases.take(lease, TTL_MS)
    await a.leases.release(lease)
    const next = rival(lease)
    expect(await b.leases.take(next, TTL_MS)).toBeNull()
    await a.leases.release(lease)
    expect(await holds(b, next)).toBe(true)
  })

  it('a renewal tells of each lease whether it stands, and prolongs those', async () => {
    const { a, b } = peers()
    const [kept, expired, lost, unknown] = range(4).map(() => newLease()) as [Lease, Lease, Lease, Lease]
    for (const lease of [kept, expired, lost]) await a.leases.take(lease, lease === kept ? 10_000 : NO_TIME)
    await b.leases.take(rival(lost), TTL_MS)
    const asked = [kept, expired, lost, unknown].map((lease) => ({ ...lease, idle: false }))
    const wanted = await a.leases.renew(asked, TTL_MS)
    expect([...wanted.keys()].toSorted()).toEqual([kept.token, expired.token].toSorted())
    const [state] = await b.leases.elsewhere(kept.id)
    expect(state?.expiresInMs).toBeGreaterThan(10_000)
  })

  it('2,500 leases are renewed in one go', async () => {
    const { a } = peers()
    const id = randomUUID()
    const leases = range(2_500).map((place) => newLease(place, id))
    await Promise.all(leases.map((lease) => a.leases.take(lease, TTL_MS)))
    const asked = leases.map((lease) => ({ ...lease, idle: true }))
    expect((await a.leases.renew(asked, TTL_MS)).size).toBe(2_500)
    await Promise.all(leases.map((lease) => a.leases.release(lease)))
    expect((await a.leases.renew(asked, TTL_MS)).size).toBe(0)
  })

  it('whether the holder is idle is what its last renewal said', async () => {
    const { a, b } = peers()
    const lease = newLease()
    await a.leases.take(lease, TTL_MS)
    const seen: unknown[] = []
    for (const idle of [false, true, true, false]) {
      await a.leases.renew([{ ...lease, idle }], TTL_MS)
      seen.push((await b.leases.take(rival(lease), TTL_MS))?.idle)
    }
    expect(seen).toEqual([false, true, true, false])
  })

  it('a holder learns with its renewal that it is asked to give way, and the next holder is not asked', async () => {
    const { a, b } = peers()
    const [lease, other] = [newLease(0), newLease(1)]
    for (const each of [lease, other]) await a.leases.take(each, TTL_MS)
    await b.leases.ask(lease)
    const asked = [lease, other].map((each) => ({ ...each, idle: true }))
    expect(await a.leases.renew(asked, NO_TIME)).toEqual(
      new Map([
        [lease.token, true],
        [other.token, false],
      ]),
    )
    const next = rival(lease)
    await b.leases.take(next, TTL_MS)
    await a.leases.ask(lease)
    expect(await b.leases.renew([{ ...next, idle: false }], TTL_MS)).toEqual(new Map([[next.token, false]]))
  })

  it('elsewhere lists the live leases of an upload that other processes have', async () => {
    const { a, b } = peers()
    const id = randomUUID()
    await a.leases.take(newLease('append', id), TTL_MS)
    await a.leases.take(newLease(7, id), TTL_MS)
    await a.leases.take(newLease(8, id), NO_TIME)
    await a.leases.take(newLease(9), TTL_MS)
    await b.leases.take(newLease(10, id), TTL_MS)
    const places = async ({ leases }: Peer) =>
      (await leases.elsewhere(id)).map(({ place }) => String(place)).toSorted()
    expect(await places(b)).toEqual(['7', 'append'])
    expect(await places(a)).toEqual(['10'])
  })

  it('sweeping an upload makes its expired leases void, and no others', async () => {
    const { a, b } = peers()
    const id = randomUUID()
    const [live, expired, elsewhere] = [newLease(0, id), newLease(1, id), newLease(1)]
    for (const lease of [live, expired, elsewhere])
      await a.leases.take(lease, lease === live ? TTL_MS : NO_TIME)
    await b.leases.sweep({ id })
    const stand = []
    for (const lease of [live, expired, elsewhere]) stand.push(await holds(a, lease))
    expect(stand).toEqual([true, false, true])
  })

  it('sweeping all makes those void that have been expired for so long', async () => {
    const { a } = peers()
    const [live, fresh, old] = [newLease(), newLease(), newLease()]
    await a.leases.take(live, TTL_MS)
    await a.leases.take(fresh, NO_TIME)
    await a.leases.take(old, -TTL_MS)
    await a.leases.sweep({ ms: TTL_MS })
    const stand = []
    for (const lease of [live, fresh, old]) stand.push(await holds(a, lease))
    expect(stand).toEqual([true, true, false])
  })
}

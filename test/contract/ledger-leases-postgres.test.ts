import { Client } from 'pg'
import { describe, expect, it, onTestFinished } from 'vitest'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { findPostgres, onServer } from '../support/postgres.ts'
import { eventually } from '../support/slow-request.ts'
import { bytes, commitOf, newUpload, range } from './ledger-fixture.ts'
import { leasesContract } from './ledger-leases.ts'
import { newLease, NO_TIME, openPeer, rival, TTL_MS, type Peer } from './ledger-peer.ts'

const postgres = await findPostgres()

async function migrated(): Promise<string> {
  const url = await postgres.database()
  await migrateUp(url)
  return url
}

describe.skipIf(!postgres.available)('the contract', () => leasesContract('PostgreSQL', migrated))

async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url })
  await client.connect()
  onTestFinished(() => client.end())
  return client
}

describe.skipIf(!postgres.available)('a commit and a taking of its place', () => {
  /** Two processes, and a connection beside them that holds rows. */
  async function useDatabase() {
    const url = await migrated()
    const [a, b] = [await openPeer(url, 'a'), await openPeer(url, 'b')]
    // A transaction sees the same activity all the time: another connection has to look.
    const [client, observer] = [await connect(url), await connect(url)]
    onTestFinished(async () => {
      await a.ledger.close()
      await b.ledger.close()
    })
    const waiting = async (count: number) =>
      eventually(async () => {
        const { rows } = await observer.query(
          "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        return rows.length === count
      }, `${count} statements wait for a lock`)
    const { id } = await a.ledger.create(newUpload())
    const lease = newLease(0, id)
    await a.leases.take(lease, NO_TIME)
    const commit = () =>
      a.ledger.commit(commitOf(id, [bytes(0, 3, 7)], { fences: [{ place: 0, token: lease.token }] }))
    await a.ledger.commit(commitOf(id, [bytes(0, 0, 3)]))
    return { a, b, client, waiting, id, lease, commit }
  }

  it('a taking waits for the commit that has found its fence standing', async () => {
    const { b, client, waiting, id, lease, commit } = await useDatabase()
    await client.query('BEGIN')
    // The commit comes to write this row after it has looked at its fences.
    await client.query('SELECT 1 FROM chunks WHERE upload_id = $1 FOR UPDATE', [id])
    const order: string[] = []
    const committing = commit().finally(() => order.push('commit'))
    await waiting(1)
    const taking = b.leases.take(rival(lease), TTL_MS).finally(() => order.push('taking'))
    await waiting(2)
    expect(order).toEqual([])
    await client.query('COMMIT')
    expect(await committing).toMatchObject({ ok: true, upload: { offset: 7 } })
    // Which of the two answers arrives first is up to their connections.
    expect(await taking).toBeNull()
  })

  it('a commit waits for the taking that is under way, and is refused then', async () => {
    const { client, waiting, id, lease, commit } = await useDatabase()
    await client.query('BEGIN')
    await client.query("UPDATE leases SET owner = 'b', token = 'next' WHERE upload_id = $1", [id])
    const committing = commit()
    await waiting(1)
    await client.query('COMMIT')
    expect(await committing).toMatchObject({ ok: false, upload: { offset: 3 } })
    expect(lease.token).not.toBe('next')
  })

  it('a renewal does not revive a lease that is being taken', async () => {
    const { a, client, waiting, id, lease } = await useDatabase()
    await client.query('BEGIN')
    await client.query("UPDATE leases SET owner = 'b', token = 'next' WHERE upload_id = $1", [id])
    const renewing = a.leases.renew([{ ...lease, idle: false }], TTL_MS)
    await waiting(1)
    await client.query('COMMIT')
    expect((await renewing).size).toBe(0)
    const { rows } = await client.query('SELECT token FROM leases WHERE upload_id = $1', [id])
    expect(rows).toEqual([{ token: 'next' }])
  })
})

describe.skipIf(!postgres.available)('several processes on one PostgreSQL', () => {
  it('that take, renew, commit and release the same places at once, in any order, never deadlock', async () => {
    const url = await migrated()
    const peers = await Promise.all(
      range(3).map((i) => openPeer(`${url}?application_name=crowd`, `peer ${i}`)),
    )
    const uploads = await Promise.all(
      range(2).map(async () => (await (peers[0] as Peer).ledger.create(newUpload({ size: 200 }))).id),
    )
    async function work({ ledger, leases }: Peer, turn: number): Promise<void> {
      const mine = uploads.flatMap((id) => range(20).map((place) => newLease(place, id)))
      const ordered = turn % 2 ? mine : mine.toReversed()
      await Promise.all(ordered.map((lease) => leases.take(lease, 3)))
      const fencesOf = (id: string) => ordered.filter((lease) => lease.id === id)
      await Promise.all([
        ...uploads.map((id) => ledger.commit(commitOf(id, [], { fences: fencesOf(id) }))),
        leases.renew(
          ordered.map((lease) => ({ ...lease, idle: false })),
          3,
        ),
        ...ordered.slice(0, 20).map((lease) => leases.release(lease)),
      ])
    }
    const rounds = async (peer: Peer, n: number) => {
      for (const round of range(15)) await work(peer, round + n)
    }
    await Promise.all(peers.map(rounds))
    await Promise.all(peers.map(({ ledger }) => ledger.close()))
    expect(await deadlocks(url)).toBe(0)
  })
})

/** The server has counted them once the connections are closed. */
const deadlocks = (url: string) =>
  onServer(url, async (client) => {
    const open = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'crowd'`
    await eventually(async () => (await client.query(open)).rows.length === 0, 'the connections are closed')
    const { rows } = await client.query<{ deadlocks: string }>(
      'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
    )
    return Number(rows[0]?.deadlocks)
  })

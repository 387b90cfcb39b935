import type { Lease, Leases, LeaseState } from '../../src/core/ports/locker.ts'

interface Row {
  lease: Lease
  owner: string
  expiresAt: number
  idle: boolean
  wanted: boolean
}

/** A table of leases by the clock of `Date`, which a test may set; and how a process reaches it. */
export function createMemoryLeases() {
  const rows = new Map<string, Row>()
  const keyOf = ({ id, place }: Pick<Lease, 'id' | 'place'>) => `${id} ${place}`
  const rowOf = (lease: Lease) => {
    const row = rows.get(keyOf(lease))
    return row?.lease.token === lease.token ? row : undefined
  }
  const stateOf = ({ lease, expiresAt, idle }: Row): LeaseState => ({
    place: lease.place,
    token: lease.token,
    expiresInMs: expiresAt - Date.now(),
    idle,
  })

  /** What a test sees and sets of a process's connection. */
  const processOf = (owner: string) => {
    const connection = { away: false, takings: 0, renewals: 0 }
    const answer = async <T>(work: () => T): Promise<T> => {
      if (connection.away) throw new Error('the database is away')
      return work()
    }
    const leases: Leases = {
      take: (lease, ttlMs) =>
        answer(() => {
          connection.takings += 1
          const row = rows.get(keyOf(lease))
          if (row && row.expiresAt > Date.now() && row.owner !== owner) return stateOf(row)
          rows.set(keyOf(lease), { lease, owner, expiresAt: Date.now() + ttlMs, idle: false, wanted: false })
          return null
        }),
      renew: (leases, ttlMs) =>
        answer(() => {
          connection.renewals += 1
          const wanted = new Map<string, boolean>()
          for (const { idle, ...lease } of leases) {
            const row = rowOf(lease)
            if (row) wanted.set(lease.token, row.wanted)
            if (row) Object.assign(row, { expiresAt: Date.now() + ttlMs, idle })
          }
          return wanted
        }),
      release: (lease) =>
        answer(() => {
          if (rowOf(lease)) rows.delete(keyOf(lease))
        }),
      ask: (lease) =>
        answer(() => {
          const row = rowOf(lease)
          if (row) row.wanted = true
        }),
      elsewhere: (id) =>
        answer(() =>
          [...rows.values()]
            .filter((row) => row.lease.id === id && row.owner !== owner && row.expiresAt > Date.now())
            .map(stateOf),
        ),
      sweep: (which) =>
        answer(() => {
          for (const [key, { lease, expiresAt }] of rows) {
            const ms = 'ms' in which ? which.ms : 0
            if (('ms' in which || lease.id === which.id) && expiresAt <= Date.now() - ms) rows.delete(key)
          }
        }),
    }
    return { leases, connection }
  }
  return { processOf, size: () => rows.size }
}

import type { Holder, Lease, Leases } from '../core/ports/locker.ts'

export interface LeaseTimes {
  /** how long a lease stands that nobody renews */
  ttlMs: number
  renewMs: number
  /** how much sooner than the database we count a lease as expired: room for a write that is under way */
  marginMs: number
  /** how often holders are looked at: whether they are idle, and whether their leases still stand */
  lookMs: number
}

/** A lease that is renewed until it is dropped or lost. */
export interface Kept {
  /** Once false, it stays so. */
  held(): boolean
  drop(): void
}

export interface LeaseKeeper {
  /** @param takenAt when the taking was asked for */
  keep(lease: Lease, holder: Holder, takenAt: number): Kept
}

interface Entry {
  lease: Lease
  holder: Holder
  /** until when it surely stands, by our own clock */
  until: number
  /** what the last renewal said of the holder */
  toldIdle: boolean
  yielded: boolean
}

/**
 * Renews all leases of this process together. A lease counts as lost when the database says so, or once
 * it may have expired there: its holder is told to yield then. A renewal that fails is tried again at the
 * next look.
 * @param now a clock that is never set
 */
export function createLeaseKeeper(leases: Leases, times: LeaseTimes, now: () => number): LeaseKeeper {
  const { ttlMs, renewMs, marginMs, lookMs } = times
  const entries = new Map<string, Entry>()
  let renewedAt = 0
  let renewing = false
  let ticking: NodeJS.Timeout | undefined

  const standsUntil = (askedAt: number) => askedAt + ttlMs - marginMs
  const forget = ({ lease }: Entry) => {
    entries.delete(lease.token)
    if (entries.size > 0) return
    clearInterval(ticking)
    ticking = undefined
  }
  const yieldOnce = (entry: Entry) => {
    if (entry.yielded) return
    entry.yielded = true
    entry.holder.yield()
  }
  const lose = (entry: Entry) => {
    forget(entry)
    yieldOnce(entry)
  }

  async function look(): Promise<void> {
    for (const entry of entries.values()) if (now() >= entry.until) lose(entry)
    // Idle holders are told of at once and asked often whether they are wanted: somebody may wait for them.
    const restless = () => [...entries.values()].some(({ holder, toldIdle }) => toldIdle || holder.idle())
    if (renewing || entries.size === 0 || (now() - renewedAt < renewMs && !restless())) return
    renewing = true
    try {
      await renew()
    } catch {
      // The database is away: for as long as they stand, leases may be renewed later.
    } finally {
      renewing = false
    }
  }

  async function renew(): Promise<void> {
    const askedAt = now()
    const asked = [...entries.values()].map(({ lease, holder }) => ({ ...lease, idle: holder.idle() }))
    const wanted = await leases.renew(asked, ttlMs)
    renewedAt = askedAt
    for (const { token, idle } of asked) {
      const entry = entries.get(token)
      if (!entry) continue
      const isWanted = wanted.get(token)
      if (isWanted === undefined) {
        lose(entry)
        continue
      }
      entry.until = standsUntil(askedAt)
      entry.toldIdle = idle
      if (isWanted) yieldOnce(entry)
    }
  }

  return {
    keep(lease, holder, takenAt) {
      const entry = { lease, holder, until: standsUntil(takenAt), toldIdle: false, yielded: false }
      if (entries.size === 0) renewedAt = takenAt
      entries.set(lease.token, entry)
      ticking ??= setInterval(() => void look(), lookMs).unref()
      return {
        held() {
          if (!entries.has(lease.token)) return false
          if (now() < entry.until) return true
          lose(entry)
          return false
        },
        drop: () => forget(entry),
      }
    },
  }
}

/** Proof of a right to write, which another writer's takeover makes void. */
export interface Fence {
  place: Place
  token: string
}

/** Who holds a place, and how to make it go. */
export interface Holder {
  idle(): boolean
  yield(): void
}

/** A cell's index, 'append' for the one PATCH of an upload, or the work on it that only one may do. */
export type Place = number | 'append' | 'finish' | 'reap'

/** A place that is ours until it is released or lost. */
export interface Hold {
  /** Whether another had it when it was asked for: what that one wrote may count only since. */
  readonly afterAnother: boolean
  /** What a commit under it brings along; null where no other process could take it. */
  readonly fence: Fence | null
  /** false once it is lost, or may be: nothing may be written under it any more */
  held(): boolean
  /** Once it resolves, the next to come finds the place free. Never rejects. */
  release(): Promise<void>
}

/** Writers of one place take turns; an idle writer gives way. A holder whose place is lost is told to yield. */
export interface Locker {
  /** @throws {HttpError} locked 423: at once with `wait: false` when the holder is healthy, else after a while */
  acquire(id: string, place: Place, holder: Holder, wait: boolean): Promise<Hold>
  /** Whether a writer holds a cell or the append of the upload and is not idle. */
  busy(id: string): Promise<boolean>
  /** Makes every writer of the upload give way, and resolves when they have. */
  drain(id: string): Promise<void>
}

/** A place as this process holds it before others: every taking has a token of its own. */
export interface Lease extends Fence {
  id: string
}

/** What others see of a lease. */
export interface LeaseState {
  place: Place
  token: string
  /** by the database's clock; 0 or less once anybody may take the place */
  expiresInMs: number
  /** whether the holder waits for a byte that does not come */
  idle: boolean
}

/**
 * Who of several processes holds what. One of these speaks for one process. Takings and fences are
 * settled one after the other: no commit slips in behind a taking that it should have lost to.
 */
export interface Leases {
  /**
   * Takes a place that is free, whose lease has expired, or that this process left without a word.
   * @returns null once it is ours, else how it is held
   */
  take(lease: Lease, ttlMs: number): Promise<LeaseState | null>
  /** Prolongs leases. @returns those that are still ours, by token, and whether somebody wants the place */
  renew(leases: readonly (Lease & { idle: boolean })[], ttlMs: number): Promise<Map<string, boolean>>
  /** Once it resolves the place is free, if it was still ours. */
  release(lease: Lease): Promise<void>
  /** Asks the holder of a lease to give way: its next renewal tells it. */
  ask(lease: Lease): Promise<void>
  /** how other processes hold places of an upload; what has expired is left out */
  elsewhere(id: string): Promise<LeaseState[]>
  /** Makes expired leases void: of an upload, or all that have been expired for `ms`. */
  sweep(which: { id: string } | { ms: number }): Promise<void>
}

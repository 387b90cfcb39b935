/** The unit of memory: what a writer holds beyond what it was sent is less than that. */
export const SLAB_BYTES = 256 * 1024

/** Memory for the bytes on their way into storage: a budget of slabs that all writers share. */
export interface PartBuffers {
  /** the most that one writer may need */
  readonly maxBytes: number
  /** @param needBytes the most that may come to be held at a time */
  open(needBytes: number): Share
  /** the bytes that are held now */
  heldBytes(): number
}

/** What one writer holds of the budget. */
export interface Share {
  /** One slab more: at once, or when there is one to be had. */
  take(): Uint8Array | Promise<Uint8Array>
  /** Gives some back; the writer may still come to need as many again. */
  giveBack(slabs: readonly Uint8Array[]): void
  /** Gives all back, which nobody may use any more; nothing may be waited for then. */
  release(): void
  /** What to call when others wait while this writer hardly grows; null where it can't give way. */
  onPressed(giveWay: (() => void) | null): void
}

interface Holder {
  /** slabs */
  need: number
  held: Set<Uint8Array>
  /** when it last took a slab, or was pressed */
  grewMs: number
  giveWay: (() => void) | null
}

interface Waiter {
  holder: Holder
  resolve(slab: Uint8Array): void
}

export interface PartBuffersOptions {
  /** how long a writer may take for one slab more while others wait */
  patienceMs: number
  /** how often that is looked at */
  lookMs: number
}

const DEFAULTS: PartBuffersOptions = { patienceMs: 3_000, lookMs: 250 }

/**
 * Grants memory as bytes arrive, so that a slow client holds only what it sent. Nobody gives back
 * for sure before having had all that it needs, so a grant must leave an order in which everybody
 * can still get that, one after the other (Dijkstra's banker): else all might wait for all.
 *
 * Slabs are made when they are first needed and used again ever after: what is left to the garbage
 * collector grows to a multiple of the budget before it is collected. A request that was given up
 * may still be sending one that has a new owner; S3 refuses what it gets then, by its hash.
 */
export function createPartBuffers(
  budgetBytes: number,
  options: Partial<PartBuffersOptions> = {},
): PartBuffers {
  const { patienceMs, lookMs } = { ...DEFAULTS, ...options }
  const total = Math.floor(budgetBytes / SLAB_BYTES)
  const holders = new Set<Holder>()
  const idle: Uint8Array[] = []
  let waiting: Waiter[] = []
  let held = 0
  let needed = 0
  let ticking: NodeJS.Timeout | undefined

  /** Whether `asking` may have one slab more. */
  const isSafe = (asking: Holder): boolean => {
    if (needed <= total) return true
    let free = total - held - 1
    if (free < 0) return false
    const all = [...holders]
      .map((holder) => ({ need: holder.need, has: holder.held.size + (holder === asking ? 1 : 0) }))
      .filter(({ has }) => has > 0)
      .toSorted((a, b) => a.need - a.has - (b.need - b.has))
    return all.every(({ need, has }) => {
      if (need - has > free) return false
      free += has
      return true
    })
  }

  const grant = (holder: Holder): Uint8Array => {
    const slab = idle.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES)
    holder.held.add(slab)
    holder.grewMs = performance.now()
    held += 1
    return slab
  }

  const takeBack = (holder: Holder, slabs: Iterable<Uint8Array>) => {
    for (const slab of slabs) {
      if (!holder.held.delete(slab)) throw new Error('a slab of somebody else')
      idle.push(slab)
      held -= 1
    }
    serve()
  }

  /** In the order of their coming, but nobody waits for one who can't be served. */
  const serve = () => {
    waiting = waiting.filter(({ holder, resolve }) => {
      if (!isSafe(holder)) return true
      resolve(grant(holder))
      return false
    })
    if (waiting.length > 0) ticking ??= setInterval(press, lookMs).unref()
    else {
      clearInterval(ticking)
      ticking = undefined
    }
  }

  /** Presses writers that don't get on, the largest first, until the first in the queue has enough. */
  const press = () => {
    const [first] = waiting
    if (!first) return
    const slowSinceMs = performance.now() - patienceMs
    const slow = [...holders]
      .filter(({ giveWay, grewMs }) => giveWay !== null && grewMs <= slowSinceMs)
      .toSorted((a, b) => b.held.size - a.held.size)
    let wanted = first.holder.need - first.holder.held.size - (total - held)
    for (const holder of slow) {
      if (wanted <= 0 || holder.held.size === 0) return
      wanted -= holder.held.size
      holder.grewMs = performance.now()
      holder.giveWay?.()
    }
  }

  const take = (holder: Holder): Uint8Array | Promise<Uint8Array> => {
    if (holder.held.size === holder.need) throw new Error('more memory than was said to be needed')
    if (isSafe(holder)) return grant(holder)
    return new Promise((resolve) => {
      waiting.push({ holder, resolve })
      serve()
    })
  }

  return {
    maxBytes: total * SLAB_BYTES,
    heldBytes: () => held * SLAB_BYTES,
    open(needBytes) {
      const need = Math.ceil(needBytes / SLAB_BYTES)
      if (need > total) throw new Error(`${needBytes} bytes are more than there is memory for`)
      const holder: Holder = { need, held: new Set(), grewMs: performance.now(), giveWay: null }
      holders.add(holder)
      needed += need
      return {
        take: () => take(holder),
        giveBack: (slabs) => takeBack(holder, slabs),
        release() {
          if (!holders.delete(holder)) return
          needed -= need
          takeBack(holder, [...holder.held])
        },
        onPressed(giveWay) {
          holder.giveWay = giveWay
        },
      }
    },
  }
}

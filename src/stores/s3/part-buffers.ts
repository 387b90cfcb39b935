/** Memory for the bytes on their way into storage: a budget that all writers share. */
export interface PartBuffers {
  readonly budgetBytes: number
  /** the bytes that are held now */
  heldBytes(): number
  /** @param needBytes the most that may come to be held at a time; at most the budget */
  open(needBytes: number): Share
}

/** What one writer holds of the budget. */
export interface Share {
  /** undefined when `bytes` more may be held at once; else resolves when they may */
  grow(bytes: number): Promise<void> | undefined
  /** Gives back some of it; the writer may still come to need it again. */
  shrink(bytes: number): void
  /** Gives all of it back; nothing may wait then. */
  release(): void
  /** What to call when others wait while this writer hardly grows; null where it can't give way. */
  onPressed(giveWay: (() => void) | null): void
}

interface Holder {
  needBytes: number
  heldBytes: number
  /** when it last had grown by a step, or was pressed; and by how much it has grown since */
  stepMs: number
  stepBytes: number
  giveWay: (() => void) | null
}

interface Waiter {
  holder: Holder
  bytes: number
  resolve(): void
}

export interface PartBuffersOptions {
  /** how long a writer that holds memory may take for a step while others wait */
  patienceMs: number
  /** how often that is looked at */
  lookMs: number
}

const DEFAULTS: PartBuffersOptions = { patienceMs: 3_000, lookMs: 250 }
/** Who grows by less within the patience is slow. */
const STEP_BYTES = 256 * 1024

/**
 * Grants memory as bytes arrive, so that a slow client holds only what it sent. Nobody gives back
 * for sure before having had all that it needs, so a grant must leave an order in which everybody
 * can still get that, one after the other (Dijkstra's banker): else all might wait for all.
 */
export function createPartBuffers(
  budgetBytes: number,
  options: Partial<PartBuffersOptions> = {},
): PartBuffers {
  const { patienceMs, lookMs } = { ...DEFAULTS, ...options }
  const holders = new Set<Holder>()
  let waiting: Waiter[] = []
  let held = 0
  let needed = 0
  let ticking: NodeJS.Timeout | undefined

  const isSafe = (asking: Holder, bytes: number): boolean => {
    if (needed <= budgetBytes) return true
    let free = budgetBytes - held - bytes
    if (free < 0) return false
    const rests = [...holders]
      .map((holder) => ({ holder, heldBytes: holder.heldBytes + (holder === asking ? bytes : 0) }))
      .filter(({ heldBytes }) => heldBytes > 0)
      .map(({ holder, heldBytes }) => ({ heldBytes, restBytes: holder.needBytes - heldBytes }))
      .toSorted((a, b) => a.restBytes - b.restBytes)
    return rests.every(({ heldBytes, restBytes }) => {
      if (restBytes > free) return false
      free += heldBytes
      return true
    })
  }

  const change = (holder: Holder, bytes: number) => {
    holder.heldBytes += bytes
    held += bytes
    holder.stepBytes += bytes
    if (Math.abs(holder.stepBytes) >= STEP_BYTES) startStep(holder)
  }

  const startStep = (holder: Holder) => {
    holder.stepBytes = 0
    holder.stepMs = performance.now()
  }

  /** In the order of their coming, but nobody waits for one who can't be served. */
  const serve = () => {
    waiting = waiting.filter(({ holder, bytes, resolve }) => {
      if (!isSafe(holder, bytes)) return true
      change(holder, bytes)
      resolve()
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
    let wanted = first.holder.needBytes - first.holder.heldBytes - (budgetBytes - held)
    const slow = [...holders]
      .filter(({ giveWay, stepMs }) => giveWay !== null && stepMs <= slowSinceMs)
      .toSorted((a, b) => b.heldBytes - a.heldBytes)
    for (const holder of slow) {
      if (wanted <= 0 || holder.heldBytes === 0) return
      wanted -= holder.heldBytes
      startStep(holder)
      holder.giveWay?.()
    }
  }

  const grow = (holder: Holder, bytes: number): Promise<void> | undefined => {
    if (holder.heldBytes + bytes > holder.needBytes) throw new Error('more than was said to be needed')
    if (isSafe(holder, bytes)) {
      change(holder, bytes)
      return undefined
    }
    return new Promise((resolve) => {
      waiting.push({ holder, bytes, resolve })
      serve()
    })
  }

  return {
    budgetBytes,
    heldBytes: () => held,
    open(needBytes) {
      if (needBytes > budgetBytes) throw new Error(`${needBytes} bytes are more than there is memory for`)
      const holder: Holder = {
        needBytes,
        heldBytes: 0,
        stepMs: performance.now(),
        stepBytes: 0,
        giveWay: null,
      }
      holders.add(holder)
      needed += needBytes
      return {
        grow: (bytes) => grow(holder, bytes),
        shrink(bytes) {
          change(holder, -bytes)
          serve()
        },
        release() {
          if (!holders.delete(holder)) return
          needed -= needBytes
          change(holder, -holder.heldBytes)
          serve()
        },
        onPressed(giveWay) {
          holder.giveWay = giveWay
        },
      }
    },
  }
}

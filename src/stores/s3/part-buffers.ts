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
  /** Gives all of it back; nothing may wait then. */
  release(): void
}

interface Holder {
  needBytes: number
  heldBytes: number
}

interface Waiter {
  holder: Holder
  bytes: number
  resolve(): void
}

/**
 * Grants memory as bytes arrive, so that a slow client holds only what it sent. Nobody gives back
 * before having had all that it needs, so a grant must leave an order in which everybody can still
 * get that, one after the other (Dijkstra's banker): else all might wait for all.
 */
export function createPartBuffers(budgetBytes: number): PartBuffers {
  const holders = new Set<Holder>()
  let waiting: Waiter[] = []
  let held = 0
  let needed = 0

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

  const grant = (holder: Holder, bytes: number) => {
    holder.heldBytes += bytes
    held += bytes
  }

  /** In the order of their coming, but nobody waits for one who can't be served. */
  const serve = () => {
    waiting = waiting.filter(({ holder, bytes, resolve }) => {
      if (!isSafe(holder, bytes)) return true
      grant(holder, bytes)
      resolve()
      return false
    })
  }

  return {
    budgetBytes,
    heldBytes: () => held,
    open(needBytes) {
      if (needBytes > budgetBytes) throw new Error(`${needBytes} bytes are more than there is memory for`)
      const holder: Holder = { needBytes, heldBytes: 0 }
      holders.add(holder)
      needed += needBytes
      return {
        grow(bytes) {
          if (holder.heldBytes + bytes > needBytes) throw new Error('more than was said to be needed')
          if (isSafe(holder, bytes)) {
            grant(holder, bytes)
            return undefined
          }
          return new Promise((resolve) => waiting.push({ holder, bytes, resolve }))
        },
        release() {
          if (!holders.delete(holder)) return
          held -= holder.heldBytes
          needed -= needBytes
          serve()
        },
      }
    },
  }
}

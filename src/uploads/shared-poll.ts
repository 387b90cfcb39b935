export interface Watcher<T> {
  /** told of the value that is there, and of every other one that comes */
  see(value: T): void
  /** told once, when there is nothing more to see */
  end(): void
}

export interface SharedPoll<T> {
  /** @returns what ends the watching; `end` is not called then */
  watch(key: string, watcher: Watcher<T>): () => void
}

interface Watched<T> {
  value: T | null
  watchers: Set<Watcher<T>>
  timer: NodeJS.Timeout | undefined
}

/** Whoever watches much, or makes it change all the time, gets no more of the process than a tenth of its time. */
const PAUSES_PER_LOOK = 9

/**
 * Looks at something again and again while anybody watches it, and once for all who do.
 * @param look given what it told before; tells null where there is nothing any more, and the same
 *   value where nothing has changed. Whoever watches what it fails on is sent away, to ask again.
 */
export function sharedPoll<T>(
  look: (key: string, before: T | null) => Promise<T | null>,
  everyMs: number,
  nowMs = () => performance.now(),
): SharedPoll<T> {
  const watched = new Map<string, Watched<T>>()

  const stop = (key: string, entry: Watched<T>) => {
    clearTimeout(entry.timer)
    if (watched.get(key) === entry) watched.delete(key)
    const watchers = [...entry.watchers]
    entry.watchers.clear()
    return watchers
  }
  const turn = async (key: string, entry: Watched<T>): Promise<void> => {
    const before = entry.value
    const startedAt = nowMs()
    const value = await look(key, before).catch(() => null)
    if (entry.watchers.size === 0) return
    if (value === null) {
      for (const watcher of stop(key, entry)) watcher.end()
      return
    }
    entry.value = value
    if (value !== before) for (const watcher of entry.watchers) watcher.see(value)
    // Whoever saw the last they wanted has left.
    if (entry.watchers.size === 0) return
    const pauseMs = Math.max(everyMs, (nowMs() - startedAt) * PAUSES_PER_LOOK)
    entry.timer = setTimeout(() => void turn(key, entry), pauseMs)
  }

  return {
    watch(key, watcher) {
      const known = watched.get(key)
      const entry = known ?? { value: null, watchers: new Set(), timer: undefined }
      entry.watchers.add(watcher)
      if (!known) {
        watched.set(key, entry)
        void turn(key, entry)
      } else if (known.value !== null) watcher.see(known.value)
      return () => {
        entry.watchers.delete(watcher)
        if (entry.watchers.size === 0) stop(key, entry)
      }
    },
  }
}

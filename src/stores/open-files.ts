import type { FileHandle } from 'node:fs/promises'
import { openForReading } from './disk.ts'

/** A file that was removed by another process keeps its room on the disk for so long at most, unless it is read. */
const KEPT_MS = 2_000
/** of files that nobody reads for the moment; `mostConnections` leaves room for them */
const MOST_KEPT = 32

/** A file that is open for reading, until `release`. */
export interface OpenFile {
  readonly fd: number
  /** Call it once. */
  release(): Promise<void> | void
}

export interface OpenFiles {
  /** A file that is not written any more: whoever opens it soon shares the handle. */
  share(path: string): Promise<OpenFile>
  /** Whoever opens the file from now on opens it anew; it is closed as soon as nobody reads it. */
  forget(path: string): void
}

interface Shared {
  readonly handle: Promise<FileHandle>
  readonly untilMs: number
  readers: number
  isKept: boolean
}

/**
 * Files stay open for a short time: a reader of many small ranges would else open and close for each of them,
 * which costs more than the reading.
 */
export function createOpenFiles(keptMs = KEPT_MS, most = MOST_KEPT): OpenFiles {
  /** the oldest first */
  const kept = new Map<string, Shared>()
  let sweep: NodeJS.Timeout | null = null

  const drop = (path: string, file: Shared): void => {
    if (kept.get(path) === file) kept.delete(path)
    file.isKept = false
    if (file.readers === 0) close(file)
  }
  const dropOld = (): void => {
    sweep = null
    const now = performance.now()
    for (const [path, file] of kept) if (file.untilMs <= now) drop(path, file)
    sweepLater()
  }
  /** When the oldest is due: no other is before it. */
  const sweepLater = (): void => {
    const [oldest] = kept.values()
    if (oldest) sweep ??= setTimeout(dropOld, Math.ceil(oldest.untilMs - performance.now())).unref()
  }

  const open = (path: string): Shared => {
    const file = {
      handle: openForReading(path),
      untilMs: performance.now() + keptMs,
      readers: 0,
      isKept: true,
    }
    kept.set(path, file)
    for (const [oldestPath, oldest] of kept) if (kept.size > most) drop(oldestPath, oldest)
    sweepLater()
    return file
  }

  return {
    async share(path) {
      const known = kept.get(path)
      const isFresh = known !== undefined && known.untilMs > performance.now()
      if (known && !isFresh) drop(path, known)
      const file = isFresh ? known : open(path)
      file.readers += 1
      const release = () => {
        file.readers -= 1
        if (file.readers === 0 && !file.isKept) close(file)
      }
      try {
        const { fd } = await file.handle
        return { fd, release }
      } catch (error) {
        drop(path, file)
        release()
        throw error
      }
    },
    forget(path) {
      const file = kept.get(path)
      if (file) drop(path, file)
    },
  }
}

/** Nothing was written to it: there is nothing that closing could lose, and nobody to tell. */
function close({ handle }: Shared): void {
  handle.then((file) => file.close()).catch(() => {})
}

import { Worker } from 'node:worker_threads'
import { bytesIn } from './disk.ts'
import type { StorageRoot } from './root.ts'

/** What one small write may have. */
export const MOST_SMALL_BYTES = 64 * 1024
/** What the thread is handed at once. */
const BATCH_BYTES = 1024 * 1024
/** So many small writes at a time are a crowd: below that the thread gains nothing. */
const CROWD = 3
/** A thread that is on one batch for so long has a slow disk, or none: others had better not wait for it. */
const SLOW_MS = 20
/** A thread that has had nothing to do for so long ends. */
const IDLE_MS = 30_000

/** Beside this file, built or not; one that can't be loaded does no harm. */
const THREAD = new URL(import.meta.url.replace(/(\.\w+)$/, '-thread$1'))

/** For the thread: where in the shared bytes the content of a file lies, and where in the file it belongs. */
export interface SmallWrite {
  path: string
  start: number
  length: number
  position: number
}

export interface Batch {
  /** the storage root's mark as it was seen last; below another one no folder is made */
  place: string
  writes: SmallWrite[]
}

export interface ThreadData {
  bytes: SharedArrayBuffer
  /** of the storage root */
  mark: string
}

/**
 * Opens or makes the file, writes all of `pieces` at a position and closes it; where the thread does not do
 * that, `otherwise` does. @returns the bytes written
 */
export type WriteSmall = (
  file: string,
  pieces: readonly Uint8Array[],
  position: number,
  otherwise: () => Promise<number>,
) => Promise<number>

interface Waiting {
  file: string
  pieces: readonly Uint8Array[]
  length: number
  position: number
  /** false: it is not known to be written */
  resolve: (written: boolean) => void
}

interface Running {
  worker: Worker
  bytes: Uint8Array<SharedArrayBuffer>
  isReady: boolean
}

/**
 * Small files that come in crowds, by a thread of their own. By libuv's threads each of them is three jobs or
 * more, of which every one wakes two threads; that costs several times what the system calls do. Here a batch
 * of files is one message there and one back. The event loop touches no disk.
 *
 * The thread only ever helps: what it could not write, for whatever reason, is written by `otherwise`, which
 * also tells why it can't be. It runs while there are crowds.
 * @param threadFile what the thread runs
 */
export function createSmallWrites(root: StorageRoot, threadFile = THREAD): WriteSmall {
  const waiting: Waiting[] = []
  let active = 0
  let thread: Running | null = null
  let isBroken = false
  let batch: { writes: Waiting[]; sinceMs: number } | null = null
  let idle: NodeJS.Timeout | undefined

  const start = (): Running | null => {
    try {
      return startThread()
    } catch {
      // No more threads may be had, say.
      isBroken = true
      return null
    }
  }
  const startThread = (): Running => {
    const bytes = new SharedArrayBuffer(BATCH_BYTES)
    const workerData: ThreadData = { bytes, mark: root.mark }
    const worker = new Worker(threadFile, { workerData })
    const started: Running = { worker, bytes: new Uint8Array(bytes), isReady: false }
    worker.unref()
    worker.once('online', () => {
      started.isReady = true
    })
    worker.on('message', done)
    worker.once('error', () => {
      isBroken = true
    })
    worker.once('exit', () => {
      thread = null
      done([])
    })
    idle = setTimeout(() => void worker.terminate(), IDLE_MS).unref()
    return started
  }

  const done = (written: readonly boolean[]): void => {
    const over = batch
    batch = null
    thread?.worker.unref()
    over?.writes.forEach(({ resolve }, i) => resolve(written[i] ?? false))
    if (thread) send(thread)
    else for (const { resolve } of waiting.splice(0)) resolve(false)
  }

  const send = ({ worker, bytes }: Running): void => {
    if (batch || waiting.length === 0) return
    const writes: Waiting[] = []
    const message: Batch = { place: root.place(), writes: [] }
    let start = 0
    for (let next = waiting[0]; next && start + next.length <= BATCH_BYTES; next = waiting[0]) {
      const { file, length, position } = next
      message.writes.push({ path: file, start, length, position })
      for (const piece of next.pieces) {
        bytes.set(piece, start)
        start += piece.length
      }
      writes.push(next)
      waiting.shift()
    }
    batch = { writes, sinceMs: performance.now() }
    idle?.refresh()
    worker.ref()
    worker.postMessage(message)
  }

  /** null where the thread had better not be asked. */
  const ask = (file: string, pieces: readonly Uint8Array[], position: number): Promise<boolean> | null => {
    if (!thread && active >= CROWD && !isBroken) thread = start()
    const length = bytesIn(pieces)
    if (!thread?.isReady || length > MOST_SMALL_BYTES) return null
    if (batch && performance.now() - batch.sinceMs > SLOW_MS) return null
    const running = thread
    return new Promise((resolve) => {
      waiting.push({ file, pieces, length, position, resolve })
      send(running)
    })
  }

  return async (file, pieces, position, otherwise) => {
    active += 1
    try {
      const asked = ask(file, pieces, position)
      if (!asked || !(await asked)) return await otherwise()
      return bytesIn(pieces)
    } finally {
      active -= 1
    }
  }
}

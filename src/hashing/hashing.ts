import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Hash, OpenHash } from '../core/ports/hash.ts'
import { openInlineHash } from './inline-hash.ts'

/** A smaller body is hashed sooner than a thread is asked. */
const LEAST_BYTES = 512 * 1024
/** A thread that has had no hash for so long ends. */
const IDLE_MS = 30_000
/** One that could not be started, where no more threads may be had say, is tried again so much later. */
const RETRY_MS = 60_000

/** Beside this file, built or not. */
const THREAD = new URL(import.meta.url.replace(/(\.\w+)$/, '-thread$1'))

/** For the thread: some bytes of a hash, or its end. The first order of a hash makes it. */
export interface Order {
  id: number
  algorithm: string
  piece?: Uint8Array
  ends?: 'with a digest' | 'dropped'
}

/** The digest where one was asked for. */
export type Answer = Uint8Array | null

interface Thread {
  worker: Worker
  /** for each order that has no answer yet, oldest first */
  waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void }[]
  /** hashes that are open, however long their clients are silent */
  hashes: number
  isReady: boolean
  /** why it answers nothing any more */
  failure: Error | null
  idle: NodeJS.Timeout | undefined
}

/**
 * Hashes of large bodies, by a thread beside the event loop: a core that hashes reads no sockets meanwhile. The
 * bytes of shared memory are read where they are, others are copied. It starts with the first large body, which
 * does not wait for it: until the thread is there, and where there is no second core or it can't be started, the
 * event loop hashes itself.
 * @param options.file what the thread runs
 */
export function createHashing({
  cores = availableParallelism(),
  file = THREAD,
  idleMs = IDLE_MS,
} = {}): OpenHash {
  let thread: Thread | null = null
  let startsFromMs = cores > 1 ? -Infinity : Infinity
  let nextId = 0

  const startLater = () => (startsFromMs = performance.now() + RETRY_MS)
  const start = (): Thread | null => {
    if (performance.now() < startsFromMs) return null
    try {
      return watch(new Worker(file))
    } catch {
      startLater()
      return null
    }
  }
  const watch = (worker: Worker): Thread => {
    const started: Thread = {
      worker,
      waiting: [],
      hashes: 0,
      isReady: false,
      failure: null,
      idle: undefined,
    }
    const end = (failure: Error) => {
      if (thread === started) thread = null
      started.failure ??= failure
      clearTimeout(started.idle)
      for (const { reject } of started.waiting.splice(0)) reject(started.failure)
    }
    worker.unref()
    // Its first message says that it is there.
    worker.once('message', () => {
      started.isReady = true
      endWhenIdle(started)
      worker.on('message', (answer: Answer) => started.waiting.shift()?.resolve(answer))
    })
    worker.once('error', (error) => {
      if (!started.isReady) startLater()
      end(error)
    })
    worker.once('exit', () => end(new Error('The thread that hashes has ended.')))
    return started
  }
  const endWhenIdle = (idle: Thread) => {
    idle.idle = setTimeout(() => {
      // Whoever comes while it ends gets another.
      if (thread === idle) thread = null
      void idle.worker.terminate()
    }, idleMs).unref()
  }

  return (algorithm, bytes) => {
    if (bytes === null || bytes < LEAST_BYTES) return openInlineHash(algorithm, bytes)
    thread ??= start()
    const there = thread
    if (!there?.isReady) return openInlineHash(algorithm, bytes)
    clearTimeout(there.idle)
    there.hashes += 1
    return hashOn(there, { id: nextId++, algorithm }, () => {
      there.hashes -= 1
      if (there.hashes === 0 && !there.failure) endWhenIdle(there)
    })
  }
}

/** @param onOver told once, when its digest has come or it was dropped */
function hashOn(thread: Thread, order: Pick<Order, 'id' | 'algorithm'>, onOver: () => void): Hash {
  let isOver = false
  const ask = (what: Partial<Order>, transfer: ArrayBuffer[] = []): Promise<Answer> => {
    if (thread.failure) return Promise.reject(thread.failure)
    return new Promise((resolve, reject) => {
      thread.waiting.push({ resolve, reject })
      thread.worker.postMessage({ ...order, ...what }, transfer)
    })
  }
  const end = (ends: NonNullable<Order['ends']>) => {
    isOver = true
    const answer = ask({ ends })
    answer.then(onOver, onOver)
    return answer
  }
  return {
    async update(bytes) {
      // It would begin anew, and nobody would end it.
      if (isOver) return
      const { buffer } = bytes
      // A view of memory that is not shared would take all of it along.
      const copy = buffer instanceof SharedArrayBuffer ? null : new Uint8Array(bytes)
      await ask({ piece: copy ?? bytes }, copy ? [copy.buffer] : []).catch(() => {})
    },
    async digest() {
      const digest = await end('with a digest')
      if (!digest) throw new Error('The thread that hashes gave no digest.')
      return digest
    },
    drop() {
      if (!isOver) end('dropped').catch(() => {})
    },
  }
}

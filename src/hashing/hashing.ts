import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { Hash, OpenHash } from '../core/ports/hash.ts'
import { openInlineHash } from './inline-hash.ts'

/** A smaller body is hashed sooner than a thread is asked. */
const LEAST_BYTES = 512 * 1024
/** A thread that has had nothing to do for so long ends. */
const IDLE_MS = 30_000

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
  isReady: boolean
  /** why it answers nothing any more */
  failure: Error | null
  idle: NodeJS.Timeout
}

/**
 * Hashes of large bodies, by a thread beside the event loop: a core that hashes reads no sockets meanwhile. The
 * bytes of shared memory are read where they are, others are copied. It starts with the first large body, which
 * does not wait for it: until the thread is there, and where there is no second core or it can't be loaded, the
 * event loop hashes itself.
 * @param options.file what the thread runs
 */
export function createHashing({ cores = availableParallelism(), file = THREAD } = {}): OpenHash {
  let thread: Thread | null = null
  let canStart = cores > 1
  let nextId = 0

  const start = (): Thread => {
    const worker = new Worker(file)
    const started: Thread = {
      worker,
      waiting: [],
      isReady: false,
      failure: null,
      idle: setTimeout(() => void worker.terminate(), IDLE_MS).unref(),
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
      worker.on('message', (answer: Answer) => started.waiting.shift()?.resolve(answer))
    })
    worker.once('error', (error) => {
      // One that fails on its way in fails the next time as well.
      if (!started.isReady) canStart = false
      end(error)
    })
    worker.once('exit', () => end(new Error('The thread that hashes has ended.')))
    return started
  }

  return (algorithm, bytes) => {
    if (bytes === null || bytes < LEAST_BYTES || !canStart) return openInlineHash(algorithm, bytes)
    thread ??= start()
    if (!thread.isReady) return openInlineHash(algorithm, bytes)
    return hashOn(thread, { id: nextId++, algorithm })
  }
}

function hashOn(thread: Thread, order: Pick<Order, 'id' | 'algorithm'>): Hash {
  let isOver = false
  const ask = (what: Partial<Order>, transfer: ArrayBuffer[] = []): Promise<Answer> => {
    if (thread.failure) return Promise.reject(thread.failure)
    thread.idle.refresh()
    return new Promise((resolve, reject) => {
      thread.waiting.push({ resolve, reject })
      thread.worker.postMessage({ ...order, ...what }, transfer)
    })
  }
  const end = (ends: NonNullable<Order['ends']>) => {
    isOver = true
    return ask({ ends })
  }
  return {
    async update(bytes) {
      const { buffer } = bytes
      // A view of memory that is not shared would take all of it along.
      const copy = buffer instanceof SharedArrayBuffer ? null : Uint8Array.from(bytes)
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

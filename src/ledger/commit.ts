import type { Commit, Committed } from '../core/ports.ts'
import { commitAll } from './batch.ts'
import type { Dialect } from './dialect.ts'
import type { Quota } from './quota.ts'
import type { Transact } from './transaction.ts'

/** SQLite joins at most 500 SELECTs, and a batch asks one for each commit. */
const MAX_BATCH = 64

interface Waiting {
  commit: Commit
  resolve(committed: Committed): void
  reject(error: unknown): void
}

export interface GroupCommit {
  /** Resolves once the transaction that carries the commit is committed. */
  commit(commit: Commit): Promise<Committed>
  /** Resolves when no commit is under way. */
  idle(): Promise<void>
}

/** Commits that arrive while a transaction runs share the next one. */
export function groupCommit(transact: Transact, dialect: Dialect, quota: Quota | null): GroupCommit {
  const waiting: Waiting[] = []
  let running: Promise<void> | null = null

  async function drain(): Promise<void> {
    // What was called in the same turn of the event loop comes along.
    await Promise.resolve()
    while (waiting.length > 0) await run(waiting.splice(0, MAX_BATCH))
    running = null
  }

  async function run(batch: Waiting[]): Promise<void> {
    const commits = batch.map(({ commit }) => commit)
    try {
      const results = await transact((tx) => commitAll(tx, dialect, quota, commits))
      batch.forEach(({ resolve }, i) => resolve(results[i] as Committed))
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  return {
    commit: (commit) =>
      new Promise((resolve, reject) => {
        waiting.push({ commit, resolve, reject })
        running ??= drain()
      }),
    async idle() {
      while (running) await running
    },
  }
}

import { existsSync, realpathSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { makeFolderOf } from './open.ts'
import { providerOf, sqlitePath } from './url.ts'

export interface ClaimOptions {
  /** with other processes that share it as well; else alone */
  shared: boolean
  /** how long to wait for a process that it can't be shared with, and may be about to end */
  patienceMs: number
  /** called once, when it has to be waited for */
  onWait: (file: string) => void
}

/** A right to work on a database; it ends with the process, however that ends. */
export interface Claim {
  /** Idempotent. */
  release(): void
}

const LOOK_MS = 100

/**
 * Keeps processes off one SQLite file that would not see each other's locks: either one works on it
 * alone, or any number of them that use leases. The claim is a lock on a file beside the database, which
 * SQLite itself takes and the operating system frees. Other databases are always worked on with leases.
 * @throws when another process keeps the database for longer than `patienceMs`
 */
export async function claimDatabase(url: string, options: ClaimOptions): Promise<Claim> {
  const path = providerOf(url) === 'sqlite' ? sqlitePath(url) : ':memory:'
  if (path === ':memory:') return { release: () => {} }
  makeFolderOf(path)
  const file = `${existsSync(path) ? realpathSync(path) : path}.lock`
  const client = new Database(file, { timeout: 0 })
  try {
    await waitFor(() => tryLock(client, options.shared), file, options)
  } catch (error) {
    client.close()
    throw error
  }
  return {
    release() {
      if (!client.open) return
      client.exec('ROLLBACK')
      client.close()
    },
  }
}

async function waitFor(
  lock: () => boolean,
  file: string,
  { shared, patienceMs, onWait }: ClaimOptions,
): Promise<void> {
  const deadline = performance.now() + patienceMs
  for (let waited = false; !lock(); waited = true) {
    if (!waited) onWait(file)
    if (performance.now() >= deadline) throw new Error(refusal(file, shared))
    await sleep(LOOK_MS)
  }
}

const refusal = (file: string, shared: boolean): string =>
  `Another process works on this database${shared ? ' alone' : ''} (it holds ${file}). Several processes may ` +
  'share an SQLite file when LEASES=on is set for every one of them.'

/** A transaction that never ends. @returns false when another process's is in the way */
function tryLock(client: Database.Database, shared: boolean): boolean {
  try {
    // Nothing is ever written: a journal on the disk would take room, of which there may be none.
    client.exec('PRAGMA journal_mode = MEMORY')
    client.exec(shared ? 'BEGIN; SELECT count(*) FROM sqlite_master' : 'BEGIN EXCLUSIVE')
    return true
  } catch (error) {
    if (client.inTransaction) client.exec('ROLLBACK')
    if ((error as { code?: string }).code?.startsWith('SQLITE_BUSY')) return false
    throw error
  }
}

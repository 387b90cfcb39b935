import { statSync } from 'node:fs'
import { unavailable } from '../core/errors.ts'
import type { UploadLedger } from '../core/ports/ledger.ts'

type Method = keyof UploadLedger

/** What they tell is true, wherever the file is. */
const READERS: ReadonlySet<string> = new Set<Method>([
  'findFinal',
  'get',
  'getAll',
  'look',
  'list',
  'cell',
  'cells',
  'storedCells',
  'expired',
  'leftovers',
  'inStatus',
  'close',
])

/**
 * A ledger that writes only while its file is where it was opened. SQLite goes on with a file that was
 * removed, replaced or unmounted, and what it commits to that is never found again.
 */
export function whilePresent(ledger: UploadLedger, file: string): UploadLedger {
  const identityOf = () => {
    const found = statSync(file, { bigint: true, throwIfNoEntry: false })
    return found && `${found.dev}:${found.ino}`
  }
  const opened = identityOf()
  const methods = Object.entries(ledger) as [string, (...args: unknown[]) => Promise<unknown>][]
  const guarded = methods.map(([name, method]) => [
    name,
    READERS.has(name)
      ? method
      : async (...args: unknown[]) => {
          if (identityOf() !== opened)
            throw unavailable(undefined, new Error(`${file} is not the file that was opened`))
          return method(...args)
        },
  ])
  return Object.fromEntries(guarded) as UploadLedger
}

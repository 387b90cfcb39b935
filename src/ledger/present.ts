import { statSync } from 'node:fs'
import { unavailable } from '../core/errors.ts'
import type { UploadLedger } from '../core/ports.ts'

/**
 * A ledger that answers only while its file is where it was opened. SQLite goes on with a file that was
 * removed, replaced or unmounted, and what it commits to that is never found again.
 */
export function whilePresent(ledger: UploadLedger, file: string): UploadLedger {
  const identityOf = () => {
    const found = statSync(file, { bigint: true, throwIfNoEntry: false })
    return found && `${found.dev}:${found.ino}`
  }
  const opened = identityOf()
  const { close, ...methods } = ledger
  const guarded = Object.entries(methods).map(([name, method]) => [
    name,
    async (...args: unknown[]) => {
      if (identityOf() !== opened)
        throw unavailable(undefined, new Error(`${file} is not the file that was opened`))
      return (method as (...args: unknown[]) => Promise<unknown>)(...args)
    },
  ])
  return { ...(Object.fromEntries(guarded) as typeof methods), close }
}

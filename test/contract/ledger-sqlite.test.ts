import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLedger } from '../../src/ledger/ledger.ts'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openDb } from '../../src/ledger/open.ts'
import { ledgerContract } from './ledger.ts'

ledgerContract('SQLite', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ledger-'))
  const url = `file:${join(folder, 'uploads.db')}`
  migrateUp(url)
  const ledger = createLedger(await openDb(url))
  const other = createLedger(await openDb(url))
  return {
    ledger,
    other,
    async close() {
      await ledger.close()
      await other.close()
      rmSync(folder, { recursive: true })
    },
  }
})

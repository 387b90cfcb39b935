import { createLedger } from '../../src/ledger/ledger.ts'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openDb } from '../../src/ledger/open.ts'
import { findPostgres } from '../support/postgres.ts'
import { ledgerContract } from './ledger.ts'

const postgres = await findPostgres()

if (postgres)
  ledgerContract('PostgreSQL', async () => {
    const url = await postgres.database()
    await migrateUp(url)
    const ledger = createLedger(await openDb(url))
    const other = createLedger(await openDb(url))
    return {
      ledger,
      other,
      async close() {
        await ledger.close()
        await other.close()
      },
    }
  })

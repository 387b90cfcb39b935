import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { leasesContract } from './ledger-leases.ts'

leasesContract('SQLite', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'leases-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const url = `file:${join(folder, 'uploads.db')}`
  await migrateUp(url)
  return url
})

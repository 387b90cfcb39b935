import { afterAll, beforeAll, describe } from 'vitest'
import { buildServer, type BuiltServer } from '../support/built-server.ts'
import { findPostgres } from '../support/postgres.ts'
import { doesOnce } from './several-keys.ts'
import { sharesUploads } from './several-processes.ts'
import { keepsQuotaTogether } from './several-quota.ts'
import { writesFromSeveralProcesses } from './several-writers.ts'

const postgres = await findPostgres()

describe.skipIf(!postgres.available)('several processes on one PostgreSQL', () => {
  let built: BuiltServer
  beforeAll(async () => {
    built = await buildServer()
  })
  afterAll(() => built.remove())

  const site = { main: () => built.main, database: () => postgres.database() }
  sharesUploads(site)
  writesFromSeveralProcesses(site)
  doesOnce(site)
  keepsQuotaTogether(site)
})

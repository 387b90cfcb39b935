import path from 'node:path'
import { afterAll, beforeAll, describe } from 'vitest'
import { buildServer, type BuiltServer } from '../support/built-server.ts'
import { doesOnce } from './several-keys.ts'
import { sharesUploads } from './several-processes.ts'
import { keepsQuotaTogether } from './several-quota.ts'
import { writesFromSeveralProcesses } from './several-writers.ts'

let built: BuiltServer
beforeAll(async () => {
  built = await buildServer()
})
afterAll(() => built.remove())

const site = {
  main: () => built.main,
  database: async (root: string) => `file:${path.join(root, 'uploads.db')}`,
}

describe('several processes on one SQLite file', () => {
  sharesUploads(site)
  writesFromSeveralProcesses(site)
  doesOnce(site)
  keepsQuotaTogether(site)
})

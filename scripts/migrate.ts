// db:up | db:down [n] | db:status, on the database of DATABASE_URL
import { existsSync } from 'node:fs'
import { migrateDown, migrateUp, migrationStatus } from '../src/ledger/migrate.ts'
import { DEFAULT_DATABASE_URL } from '../src/ledger/url.ts'

// The same database as the server's.
if (existsSync('.env')) process.loadEnvFile('.env')

const USAGE = 'usage: migrate.ts up | down [n] | status'

const url = process.env['DATABASE_URL'] || DEFAULT_DATABASE_URL
const [command, count = '1'] = process.argv.slice(2)

if (command === 'up') console.log('applied:', listed(await migrateUp(url)))
else if (command === 'down' && /^[1-9]\d*$/.test(count))
  console.log('rolled back:', listed(await migrateDown(url, Number(count))))
else if (command === 'status') console.table(await migrationStatus(url))
else {
  console.error(USAGE)
  process.exitCode = 2
}

function listed(names: string[]): string {
  return names.join(', ') || 'nothing'
}

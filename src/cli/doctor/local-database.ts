import { existsSync } from 'node:fs'
import path from 'node:path'
import type { Config } from '../../config/config.ts'
import { migrationStatus } from '../../ledger/migrate.ts'
import { providerOf, shownUrl, sqlitePath } from '../../ledger/url.ts'
import { failed, ok, warning, wordsOf, type Check } from './finding.ts'
import { judgeFolder } from './local-storage.ts'

export function databaseChecks({ databaseUrl }: Config): Check[] {
  const file = providerOf(databaseUrl) === 'sqlite' ? path.resolve(sqlitePath(databaseUrl)) : null
  const checks: Check[] = []
  if (file !== null) checks.push(['database folder', () => judgeFolder(path.dirname(file), 'DATABASE_URL')])
  checks.push([
    'database',
    () =>
      file !== null && !existsSync(file)
        ? ok(`${file} will be made when the server starts`)
        : judgeMigrations(databaseUrl),
  ])
  return checks
}

async function judgeMigrations(url: string) {
  try {
    const rows = await migrationStatus(url)
    const missing = rows.filter(({ applied }) => !applied).length
    if (missing === 0) return ok(`${shownUrl(url)}, all ${rows.length} migrations applied`)
    return warning(
      `${shownUrl(url)}, ${missing} of ${rows.length} migrations missing`,
      'The server applies them when it starts; make a backup before.',
    )
  } catch (error) {
    return failed(
      `${shownUrl(url)}: ${wordsOf(error)}`,
      'Check DATABASE_URL, that the database runs, and that this program is not older than the one before.',
    )
  }
}

import { EXIT } from '../failure.ts'
import type { Terminal } from '../terminal/output.ts'
import { tableWords } from '../terminal/words.ts'

export type Direction = 'up' | 'down' | 'status'

/** On the database of DATABASE_URL, as the server does it itself when it starts. */
export async function migrate(
  { env, stdout }: Terminal,
  direction: Direction,
  { count = 1, json = false }: { count?: number; json?: boolean },
): Promise<number> {
  const [{ migrateDown, migrateUp, migrationStatus }, { DEFAULT_DATABASE_URL }] = await Promise.all([
    import('../../ledger/migrate.ts'),
    import('../../ledger/url.ts'),
  ])
  const url = env['DATABASE_URL'] || DEFAULT_DATABASE_URL
  if (direction === 'status') {
    const rows = await migrationStatus(url)
    const lines = json
      ? rows.map((row) => JSON.stringify(row))
      : [tableWords(rows.map(({ name, applied }) => [applied ? 'applied' : 'missing', name]))]
    stdout.write(`${lines.join('\n')}\n`)
    return EXIT.done
  }
  const names = direction === 'up' ? await migrateUp(url) : await migrateDown(url, count)
  const word = direction === 'up' ? 'applied' : 'rolled back'
  stdout.write(
    json ? `${JSON.stringify({ [direction]: names })}\n` : `${word}: ${names.join(', ') || 'nothing'}\n`,
  )
  return EXIT.done
}

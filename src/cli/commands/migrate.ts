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
  const names = direction === 'up' ? await migrateUp(url) : await alone(url, () => migrateDown(url, count))
  const word = direction === 'up' ? 'applied' : 'rolled back'
  stdout.write(
    json ? `${JSON.stringify({ [direction]: names })}\n` : `${word}: ${names.join(', ') || 'nothing'}\n`,
  )
  return EXIT.done
}

/**
 * Without a server on the database: it would find its tables gone. Of one on PostgreSQL nobody knows here.
 * @throws when a server has an SQLite file
 */
async function alone<T>(url: string, work: () => Promise<T>): Promise<T> {
  const { claimDatabase } = await import('../../ledger/claim.ts')
  const claim = await claimDatabase(url, { shared: false, patienceMs: 0, onWait: () => {} }).catch(() => {
    throw new Error('A server works on this database. Stop every server first, then go down.')
  })
  try {
    return await work()
  } finally {
    claim.release()
  }
}

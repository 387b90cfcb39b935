/**
 * Fills ledgers with a thousand and with a million uploads, and tells how long the same questions take on
 * each: what goes along an index takes as long. `npm run ledger-scale -- --help` says what can be set.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { createLedger } from '../src/ledger/ledger.ts'
import { migrateUp } from '../src/ledger/migrate.ts'
import { openDb } from '../src/ledger/open.ts'
import { onServer } from '../test/support/postgres.ts'
import { startPostgres } from '../test/support/postgres-server.ts'
import { fill } from './ledger-scale/fill.ts'
import { questions } from './ledger-scale/questions.ts'

const FLAGS = {
  uploads: { type: 'string', default: '1000000' },
  rounds: { type: 'string', default: '200' },
  help: { type: 'boolean', short: 'h', default: false },
} as const

const HELP = `Times a ledger of many uploads beside a small one, on SQLite and on PostgreSQL.

  npm run ledger-scale -- [options]

  --uploads N   in the large one, in thousands (${FLAGS.uploads.default})
  --rounds N    how often each question is asked (${FLAGS.rounds.default})

PostgreSQL is one out of npm. It takes about 2 GB under ${tmpdir()}, and some minutes.`

const SMALL = 1_000
/** To fill a table takes the time that it takes. */
const PATIENCE_MS = 600_000

interface Timing {
  median: number
  p99: number
}

const { values } = parseArgs({ options: FLAGS })
const uploads = Number(values.uploads)
const rounds = Number(values.rounds)
if (values.help) console.log(HELP)
else {
  const folder = await mkdtemp(path.join(tmpdir(), 'ledger-scale-'))
  try {
    await compare('SQLite', async (count) => `file:${path.join(folder, `${count}.db`)}`)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  const postgres = await startPostgres()
  try {
    await compare('PostgreSQL', async (count) => {
      await onServer(postgres.url, (client) => client.query(`CREATE DATABASE uploads_${count}`))
      return Object.assign(new URL(postgres.url), { pathname: `/uploads_${count}` }).href
    })
  } finally {
    await postgres.remove()
  }
}

async function compare(name: string, urlFor: (count: number) => Promise<string>): Promise<void> {
  const small = await timings(await urlFor(SMALL), SMALL)
  const large = await timings(await urlFor(uploads), uploads)
  console.log(`\n${name}: milliseconds with ${SMALL} uploads and with ${uploads}, of ${rounds} rounds\n`)
  console.log('| question | median | 99 % | median | 99 % |\n| --- | ---: | ---: | ---: | ---: |')
  for (const [question, before] of small) {
    const after = large.get(question)
    const cells = [before.median, before.p99, after?.median ?? 0, after?.p99 ?? 0]
    console.log(`| ${question} | ${cells.map((ms) => ms.toFixed(2)).join(' | ')} |`)
  }
}

async function timings(url: string, count: number): Promise<Map<string, Timing>> {
  await migrateUp(url)
  const db = await openDb(url, { statementTimeoutMs: PATIENCE_MS })
  const started = performance.now()
  await fill(db, count, (made) => process.stderr.write(`\r${made} uploads `))
  process.stderr.write(`\r${count} uploads in ${Math.round((performance.now() - started) / 1000)} s\n`)

  const ledger = createLedger(db)
  const limited = createLedger(await openDb(url), { maxBytesPerUser: Number.MAX_SAFE_INTEGER })
  const results = new Map<string, Timing>()
  for (const { name, ask } of await questions(ledger, limited, count)) {
    const times: number[] = []
    const first = await timed(() => ask(0))
    for (let i = 1; i <= rounds; i++) times.push(await timed(() => ask(i)))
    times.sort((a, b) => a - b)
    const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0
    results.set(name, { median: at(0.5), p99: at(0.99) })
    if (name === 'create within a quota')
      results.set('the first of a user: counts them', { median: first, p99: first })
  }
  await limited.close()
  await ledger.close()
  return results
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return performance.now() - started
}

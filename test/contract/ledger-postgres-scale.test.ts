import { beforeAll, describe, expect, it } from 'vitest'
import { BIG_OWNER, fill } from '../../scripts/ledger-scale/fill.ts'
import type { UploadLedger } from '../../src/core/ports/ledger.ts'
import type { Prisma } from '../../src/generated/sqlite/client.ts'
import { createLedger } from '../../src/ledger/ledger.ts'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openDb, type Db } from '../../src/ledger/open.ts'
import { findPostgres, onServer } from '../support/postgres.ts'
import { watching } from './ledger-statements.ts'

const postgres = await findPostgres()
const UPLOADS = 20_000
const LIMIT = 20

/** A step of a plan that was carried out, as EXPLAIN ANALYZE tells it in JSON. */
interface Step {
  'Node Type': string
  'Relation Name'?: string
  'Actual Rows': number
  'Actual Loops': number
  'Rows Removed by Filter'?: number
  Plans?: Step[]
}

const stepsOf = (step: Step): Step[] => [step, ...(step.Plans ?? []).flatMap(stepsOf)]

/** Rows of tables that a statement looked at, whether they were of use or not. */
const rowsRead = (plan: Step): number =>
  stepsOf(plan)
    .filter((step) => step['Relation Name'] !== undefined)
    .reduce(
      (sum, step) =>
        sum + (step['Actual Rows'] + (step['Rows Removed by Filter'] ?? 0)) * step['Actual Loops'],
      0,
    )

/** As `npm run ledger-scale` shows for a million. */
describe.skipIf(!postgres.available)(`a ledger of ${UPLOADS} uploads on PostgreSQL`, () => {
  let url: string
  let ledger: UploadLedger
  let asked: Prisma.Sql[]
  let middle: string
  beforeAll(async () => {
    url = await postgres.database()
    await migrateUp(url)
    const db = await openDb(url, { statementTimeoutMs: 60_000 })
    await fill(db, UPLOADS)
    asked = []
    ledger = createLedger(remembering(db, asked))
    const { nextCursor } = await ledger.list({ ownerId: BIG_OWNER, limit: UPLOADS / 4 })
    middle = nextCursor ?? ''
    return () => ledger.close()
  })

  const now = new Date(Date.now() + 60_000)
  const longAgo = new Date(now.getTime() - 7 * 24 * 3600 * 1000)
  const list = (fields: object) => ledger.list({ ownerId: BIG_OWNER, limit: LIMIT, ...fields })
  const questions: [name: string, ask: () => Promise<unknown>][] = [
    ['a first page', () => list({})],
    ['a page in the middle', () => list({ cursor: middle })],
    ['a page of what is COMPLETED', () => list({ status: 'COMPLETED' })],
    ['a page of what is IN_PROGRESS, in the middle', () => list({ status: 'IN_PROGRESS', cursor: middle })],
    ['a page of what has FAILED, in the middle', () => list({ status: 'FAILED', cursor: middle })],
    ['what has expired', () => ledger.expired(now, LIMIT)],
    ['what is left to clean up', () => ledger.leftovers(longAgo, LIMIT)],
    ['what is FINALIZING', () => ledger.inStatus('FINALIZING', LIMIT)],
    ['what is EXPIRING', () => ledger.inStatus('EXPIRING', LIMIT)],
    ['whether it answers', () => ledger.check()],
  ]

  it.each(questions)('%s is found by reading hardly more rows than are answered', async (_name, ask) => {
    asked.length = 0
    await ask()
    const plans = await onServer(url, (client) =>
      Promise.all(
        asked.map(async ({ text, values }) => {
          const { rows } = await client.query(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, values)
          return rows[0]['QUERY PLAN'][0].Plan as Step
        }),
      ),
    )
    expect(plans).toHaveLength(1)
    const read = rowsRead(plans[0] as Step)
    expect(read).toBeGreaterThan(0)
    // A status that is shown as another is two lists, of which each gives a page and a row.
    expect(read).toBeLessThanOrEqual(2 * (LIMIT + 1))
  })

  it('a key is noted and found without a look at any other', async () => {
    asked.length = 0
    const key = { ownerId: BIG_OWNER, key: 'k' }
    await ledger.note({ ...key, fingerprint: 'f', answer: null, expiresAt: now }, longAgo)
    await ledger.look(null, key, longAgo)
    const read = await onServer(url, async (client) => {
      await client.query('BEGIN')
      const rows: number[] = []
      for (const { text, values } of asked) {
        const answer = await client.query(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, values)
        rows.push(rowsRead(answer.rows[0]['QUERY PLAN'][0].Plan as Step))
      }
      await client.query('ROLLBACK')
      return rows
    })
    expect(Math.max(...read)).toBeLessThanOrEqual(1)
  })
})

/** The database, with every statement remembered as it was asked. */
const remembering = (db: Db, asked: Prisma.Sql[]): Db =>
  watching(db, (sql, run) => {
    asked.push(sql)
    return run()
  })

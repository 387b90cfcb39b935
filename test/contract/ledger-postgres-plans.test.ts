import { beforeAll, describe, expect, it } from 'vitest'
import { createDeliveries } from '../../src/ledger/deliveries.ts'
import { createLedger } from '../../src/ledger/ledger.ts'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openDb } from '../../src/ledger/open.ts'
import { findPostgres, onServer } from '../support/postgres.ts'
import { askDeliveries, askEverything, recording } from './ledger-statements.ts'

const postgres = await findPostgres()

/** A step of a plan, as EXPLAIN tells it in JSON. */
interface Step {
  'Node Type': string
  'Relation Name'?: string
  'Index Cond'?: string
  'Rows Removed by Filter'?: number
  Plans?: Step[]
}

const stepsOf = (step: Step): Step[] => [step, ...(step.Plans ?? []).flatMap(stepsOf)]

describe.skipIf(!postgres.available)('query plans on PostgreSQL', () => {
  let url: string
  let asked: string[]
  beforeAll(async () => {
    url = await postgres.database()
    await migrateUp(url)
    asked = []
    for (const maxBytesPerUser of [0, 1e9]) {
      const ledger = createLedger(recording(await openDb(url), asked), { maxBytesPerUser })
      await askEverything(ledger)
      await ledger.close()
    }
    const urls = ['https://a.example/']
    const db = recording(await openDb(url), asked)
    const ledger = createLedger(db, { webhooks: { urls } })
    await askEverything(ledger)
    await askDeliveries(createDeliveries(db), 'https://a.example/')
    await ledger.close()
  })

  it('every query goes along an index, and sorts at most what it answers', async () => {
    const plans = await onServer(url, async (client) => {
      // Only where there is no other way is the table read or sorted now.
      await client.query('SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off')
      await client.query('SET plan_cache_mode = force_generic_plan')
      const explained: { sql: string; plan: Step }[] = []
      for (const [i, sql] of [...new Set(asked)].entries()) {
        await client.query(`PREPARE s${i} AS ${sql}`)
        const values = new Set(sql.match(/\$\d+/g)).size
        const nulls = values > 0 ? `(${Array(values).fill('NULL').join(', ')})` : ''
        const { rows } = await client.query(`EXPLAIN (FORMAT JSON) EXECUTE s${i} ${nulls}`)
        explained.push({ sql, plan: rows[0]['QUERY PLAN'][0].Plan as Step })
      }
      return explained
    })
    expect(plans.length).toBeGreaterThan(15)
    for (const { sql, plan } of plans) {
      const steps = stepsOf(plan)
      const scans = steps.filter((step) => step['Relation Name'] && /Scan/.test(step['Node Type']))
      const unbounded = scans.filter((step) => step['Index Cond'] === undefined)
      expect({ sql, unbounded }).toEqual({ sql, unbounded: [] })
      // What a limited part of a query gave may be sorted again, not what is in a table.
      const sorts = steps.filter((step) => step['Node Type'] === 'Sort')
      const ofTables = sorts.filter((sort) => !stepsOf(sort).some((step) => step['Node Type'] === 'Limit'))
      expect({ sql, ofTables }).toEqual({ sql, ofTables: [] })
    }
  })

  it('who looks for what is due does not read what waits for later, however much that is', async () => {
    await onServer(url, async (client) => {
      await client.query(`
        INSERT INTO webhook_deliveries (event_id, endpoint, upload_id, body, due_at_ms, recorded_at_ms)
        SELECT 'later ' || i, 'https://b.example/', 'u' || i, '{}', 9e15, 0 FROM generate_series(1, 20000) i`)
      await client.query('ANALYZE webhook_deliveries')
    })
    const statements: string[] = []
    const db = recording(await openDb(url), statements)
    const deliveries = createDeliveries(db)
    await onServer(url, (client) =>
      client.query(`
        INSERT INTO webhook_deliveries (event_id, endpoint, upload_id, body, due_at_ms, recorded_at_ms)
        VALUES ('now', 'https://b.example/', 'u', '{}', 0, 0)`),
    )
    expect(await deliveries.claim('https://b.example/', 8, 1_000)).toHaveLength(1)
    await db.client.$disconnect()
    const looks = statements.filter((sql) => sql.includes('due_at_ms <='))
    expect(looks).toHaveLength(2)
    await onServer(url, async (client) => {
      for (const sql of looks) {
        const values = ["'https://b.example/'", '8', '1000', "'claim'"]
        const types = sql.includes('UPDATE') ? '(text, bigint, bigint, text)' : '(text)'
        await client.query(`PREPARE look${types} AS ${sql}`)
        const given = sql.includes('UPDATE') ? values : values.slice(0, 1)
        const { rows } = await client.query(
          `EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE look(${given.join(', ')})`,
        )
        await client.query('DEALLOCATE look')
        const steps = stepsOf(rows[0]['QUERY PLAN'][0].Plan as Step)
        expect(steps.filter((step) => (step['Rows Removed by Filter'] ?? 0) > 100)).toEqual([])
      }
    })
  })
})

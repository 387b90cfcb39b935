import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { UploadLedger } from '../../src/core/ports/ledger.ts'
import { createLedger } from '../../src/ledger/ledger.ts'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openDb } from '../../src/ledger/open.ts'
import { useFolder } from '../support/folder.ts'
import { newUpload } from './ledger-fixture.ts'
import { recording } from './ledger-statements.ts'

const QUOTA = 100

/** A ledger with a quota, one without, and what the first asked of the database since it was told to count. */
async function useLedgers() {
  const url = `file:${path.join(await useFolder(), 'uploads.db')}`
  await migrateUp(url)
  const asked: string[] = []
  const limited = createLedger(recording(await openDb(url), asked), { maxBytesPerUser: QUOTA })
  const unlimited = createLedger(recording(await openDb(url), asked))
  onTestFinished(async () => {
    await limited.close()
    await unlimited.close()
  })
  const statementsOf = async (work: () => Promise<unknown>): Promise<string[]> => {
    asked.length = 0
    await work().catch(() => {})
    return [...asked]
  }
  return { limited, unlimited, statementsOf }
}

const create = (ledger: UploadLedger, size: number) => () => ledger.create(newUpload({ size }))
const sums = (statements: string[]) => statements.filter((sql) => sql.includes('SUM('))

test('without a quota creating is one statement, and with one a second that adds to the count', async () => {
  const { limited, unlimited, statementsOf } = await useLedgers()
  await limited.create(newUpload({ size: 1 }))
  expect(await statementsOf(create(unlimited, 1))).toEqual([expect.stringMatching(/^\s*INSERT INTO uploads/)])
  expect(await statementsOf(create(limited, 1))).toEqual([
    expect.stringMatching(/^\s*INSERT INTO uploads/),
    expect.stringMatching(/^\s*UPDATE owner_usage/),
  ])
  expect(await statementsOf(create(limited, 0))).toHaveLength(1)
})

test('uploads are counted once, and not again for every creation that is refused', async () => {
  const { limited, unlimited, statementsOf } = await useLedgers()
  await unlimited.create(newUpload({ size: 90 }))
  expect(sums(await statementsOf(create(limited, 20)))).not.toEqual([])
  expect(sums(await statementsOf(create(limited, 20)))).toEqual([])
  expect(sums(await statementsOf(create(limited, 10)))).toEqual([])
  expect(sums(await statementsOf(create(limited, 1)))).toEqual([])
})

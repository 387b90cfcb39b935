import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openLedger } from '../../src/ledger/open-ledger.ts'
import { useFolder } from '../support/folder.ts'
import { doneOf, LATER, newUpload, uploadIn } from './ledger-fixture.ts'

/** As the server opens it: with an eye on the disk that its file is on. */
async function useLedger(maxBytesPerUser = 0) {
  const databaseUrl = `file:${path.join(await useFolder(), 'uploads.db')}`
  await migrateUp(databaseUrl)
  const { ledger } = await openLedger({
    databaseUrl,
    databasePoolSize: 1,
    databaseStatementTimeoutMs: 10_000,
    durability: 'process',
    maxBytesPerUser,
  })
  onTestFinished(() => ledger.close())
  return ledger
}

test.each(['COMPLETED', 'FAILED'] as const)(
  'a step to %s whose fence has fallen is not taken',
  async (to) => {
    const ledger = await useLedger()
    const id = await uploadIn(ledger, 'FINALIZING', true)
    const fallen = [{ place: 'finish', token: randomUUID() }] as const
    expect(await ledger.transition(id, to, LATER, 'made up', fallen)).toBe(false)
    expect((await ledger.get(id))?.status).toBe('FINALIZING')
    expect(await ledger.transition(id, to, LATER, 'made up')).toBe(true)
  },
)

test('a quota holds for every way to create', async () => {
  const ledger = await useLedger(100)
  const fresh = () => ({ ...newUpload(), size: 101 })
  for (const created of [
    ledger.create(fresh()),
    ledger.createOnce(fresh(), doneOf()),
    ledger.createFinal({ ...fresh(), concat: 'final;/files/a' }, 'key'),
  ])
    await expect(created).rejects.toMatchObject({ status: 413 })
})

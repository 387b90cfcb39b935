import { randomUUID } from 'node:crypto'
import { beforeEach, afterEach, expect, it } from 'vitest'
import { Prisma } from '../../src/generated/sqlite/client.ts'
import type { Client } from '../../src/ledger/statements.ts'
import { range, type Fixture } from './ledger-fixture.ts'

/** What holds of transactions themselves, whatever is done in them. */
export function keepsTransactions(fixture: () => Fixture): void {
  const [parent, child] = ['a', 'b'].map((name) => Prisma.raw(`${name}_${randomUUID().replaceAll('-', '')}`))
  const db = () => fixture().dbs[0].client
  const add = (tx: Client, id: number) => tx.$executeRaw`INSERT INTO ${parent} (id) VALUES (${id})`
  const ids = async () => {
    const rows = await db().$queryRaw<{ id: number }[]>`SELECT id FROM ${parent} ORDER BY id`
    return rows.map(({ id }) => id)
  }
  beforeEach(async () => {
    await db().$executeRaw`CREATE TABLE ${parent} (id INTEGER PRIMARY KEY)`
    await db().$executeRaw`
      CREATE TABLE ${child} (id INTEGER REFERENCES ${parent} (id) DEFERRABLE INITIALLY DEFERRED)`
  })
  afterEach(async () => {
    await db().$executeRaw`DROP TABLE ${child}`
    await db().$executeRaw`DROP TABLE ${parent}`
  })

  it('one whose COMMIT fails leaves nothing behind, and what it ran on is fit for the next', async () => {
    // More often than there are connections.
    for (const round of range(20)) {
      const failing = db().$transaction(async (tx) => {
        await add(tx, 1)
        await tx.$executeRaw`INSERT INTO ${child} (id) VALUES (${2})`
      })
      await expect(failing).rejects.toThrow(/foreign key/i)
      await db().$transaction((tx) => add(tx, 10 + round))
    }
    expect(await ids()).toEqual(range(20).map((round) => 10 + round))
  })

  it('one in which a statement failed does not stand, though the error was caught', async () => {
    const failing = db().$transaction(async (tx) => {
      await add(tx, 1)
      await add(tx, 1).catch(() => {})
      return 'done'
    })
    await expect(failing).rejects.toThrow(/unique/i)
    expect(await ids()).toEqual([])
  })
}

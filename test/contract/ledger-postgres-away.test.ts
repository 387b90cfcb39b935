import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { UploadLedger } from '../../src/core/ports/ledger.ts'
import { createLedger } from '../../src/ledger/ledger.ts'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openDb, type DbOptions } from '../../src/ledger/open.ts'
import { onServer, someWait, startOwnPostgres } from '../support/postgres.ts'
import { startProxy } from '../support/proxy.ts'
import { eventually } from '../support/slow-request.ts'
import { commitOf, doneOf, EXPIRY, LATER, newUpload, range, wholeCell } from './ledger-fixture.ts'

const postgres = await startOwnPostgres()
const UNAVAILABLE = { code: 'unavailable', status: 503, headers: { 'Retry-After': '1' } }
const CELLS = 1_000

describe.skipIf(!postgres.available)('a PostgreSQL that goes away', () => {
  let url: string
  beforeAll(async () => {
    url = await postgres.database()
    await migrateUp(url)
  })

  async function useLedger(options: DbOptions = {}, at = url): Promise<UploadLedger> {
    const ledger = createLedger(await openDb(at, options))
    onTestFinished(() => ledger.close())
    return ledger
  }

  /** The network between a ledger and the server. */
  async function useProxy() {
    const proxy = await startProxy(url)
    onTestFinished(() => proxy.close())
    return { proxy, at: Object.assign(new URL(url), { port: new URL(proxy.url).port }).href }
  }

  const recovered = (ledger: UploadLedger) =>
    eventually(
      () =>
        ledger.check().then(
          () => true,
          () => false,
        ),
      'the ledger answers again',
    )

  it('a crash in the middle of commits loses nothing that was acknowledged, and the ledger goes on by itself', async () => {
    // Few connections: one that leaked in a crash would be missed in the next round.
    const ledger = await useLedger({ poolSize: 2 })
    for (const round of range(4)) {
      const ids = await Promise.all(
        range(4).map(async () => (await ledger.create(newUpload({ size: CELLS * 10 }))).id),
      )
      const acknowledged = new Map(ids.map((id) => [id, [] as number[]]))
      const failures: unknown[] = []
      let stopped = false
      const writer = async (id: string) => {
        for (let index = 0; index < CELLS && !stopped; index++) {
          try {
            const done = await ledger.commit(commitOf(id, [wholeCell(index, 10)]))
            // A cell whose commit broke off may be there all the same.
            if (done.ok) acknowledged.get(id)?.push(index)
          } catch (error) {
            failures.push(error)
            await new Promise((resolve) => setTimeout(resolve, 10))
          }
        }
      }
      const writers = ids.map(writer)
      await eventually(
        () => [...acknowledged.values()].every((cells) => cells.length > 20),
        'commits are on their way',
      )
      await postgres.crash()
      await eventually(() => failures.length > 3, 'commits fail')
      await postgres.start()
      const before = [...acknowledged.values()].flat().length
      await eventually(() => [...acknowledged.values()].flat().length > before, 'commits count again')
      stopped = true
      await Promise.all(writers)

      for (const failure of failures) expect(failure).toMatchObject(UNAVAILABLE)
      for (const id of ids) {
        const stored = new Set(await ledger.storedCells(id))
        const lost = acknowledged.get(id)?.filter((index) => !stored.has(index))
        expect({ round, lost }).toEqual({ round, lost: [] })
        expect((await ledger.get(id))?.storedCells).toBe(stored.size)
      }
    }
    expect(await Promise.all(range(20).map(() => ledger.inStatus('FINALIZING', 1)))).toHaveLength(20)
  })

  it('every method is unavailable while it is away, and works when it is back', async () => {
    const ledger = await useLedger()
    const { id } = await ledger.create(newUpload())
    await postgres.crash()
    const calls: { [Name in keyof UploadLedger]: () => Promise<unknown> } = {
      create: () => ledger.create(newUpload()),
      createOnce: () => ledger.createOnce(newUpload(), doneOf()),
      look: () => ledger.look(id, doneOf(), LATER),
      note: () => ledger.note(doneOf(), LATER),
      forget: () => ledger.forget(LATER, 1),
      forgetUsage: () => ledger.forgetUsage(),
      signingKey: () => ledger.signingKey({ id: 'a', secret: 'b' }),
      createFinal: () => ledger.createFinal({ ...newUpload(), size: 1 }, 'key'),
      findFinal: () => ledger.findFinal('key'),
      getAll: () => ledger.getAll([id]),
      get: () => ledger.get(id),
      list: () => ledger.list({ ownerId: 'ada', limit: 1 }),
      cell: () => ledger.cell(id, 0),
      cells: () => ledger.cells(id),
      storedCells: () => ledger.storedCells(id),
      claimStorageId: () => ledger.claimStorageId(id, 'name'),
      markStaged: () => ledger.markStaged(id),
      commit: () => ledger.commit(commitOf(id, [wholeCell(0)])),
      declareSize: () => ledger.declareSize(id, 1, LATER, null),
      freeCell: () => ledger.freeCell(id, 0, LATER),
      transition: () => ledger.transition(id, 'FINALIZING', LATER),
      setExpiry: () => ledger.setExpiry([id], EXPIRY),
      expired: () => ledger.expired(EXPIRY, 1),
      expire: () => ledger.expire(id, EXPIRY),
      leftovers: () => ledger.leftovers(EXPIRY, 1),
      inStatus: () => ledger.inStatus('EXPIRING', 1),
      markDeleted: () => ledger.markDeleted(id, LATER),
      purge: () => ledger.purge(id),
      check: () => ledger.check(),
      // Not while the test goes on with it.
      close: () => Promise.reject(Object.assign(new Error(), UNAVAILABLE)),
    }
    // Twice: the first may still find a connection in the pool.
    for (const call of [...Object.values(calls), ...Object.values(calls)])
      await expect(call()).rejects.toMatchObject(UNAVAILABLE)
    await postgres.start()
    await recovered(ledger)
    for (const [name, call] of Object.entries(calls))
      if (name !== 'close') await expect(call().then(() => name)).resolves.toBe(name)
  })

  it('connections that the server ended while they were idle are replaced without a word', async () => {
    const ledger = await useLedger({ poolSize: 3 })
    const { id } = await ledger.create(newUpload())
    await Promise.all(range(3).map(() => ledger.get(id)))
    await onServer(url, async (client) => {
      await client.query(
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()',
      )
      const others = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`
      await eventually(async () => (await client.query(others)).rows.length === 0, 'they are ended')
    })
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(await ledger.commit(commitOf(id, [wholeCell(0)]))).toMatchObject({ ok: true })
  })

  it('a server that falls silent makes the ledger unavailable in bounded time, and its connections are given up', async () => {
    const { proxy, at } = await useProxy()
    const ledger = await useLedger({ poolSize: 2, statementTimeoutMs: 500 }, at)
    const { id } = await ledger.create(newUpload())
    proxy.silence()
    const refused = await Promise.allSettled([
      ledger.commit(commitOf(id, [wholeCell(0)])),
      ledger.get(id),
      ledger.check(),
      ledger.freeCell(id, 0, LATER),
    ])
    for (const each of refused) expect(each).toMatchObject({ status: 'rejected', reason: UNAVAILABLE })
    proxy.restore()
    // With both connections still in use, nothing would get through.
    await Promise.all(range(4).map(() => ledger.get(id)))
    expect(await ledger.commit(commitOf(id, [wholeCell(1)]))).toMatchObject({ ok: true })
  })

  it('the connection of a transaction in whose middle the server fell silent is not used again', async () => {
    const { proxy, at } = await useProxy()
    const ledger = await useLedger({ poolSize: 1, statementTimeoutMs: 500 }, at)
    const { id } = await ledger.create(newUpload())
    await onServer(url, async (client) => {
      await client.query('BEGIN')
      await client.query('SELECT 1 FROM uploads WHERE id = $1 FOR UPDATE', [id])
      const refused = ledger.commit(commitOf(id, [wholeCell(0)]))
      await eventually(() => someWait(client), 'it waits for the upload')
      proxy.silence()
      await expect(refused).rejects.toMatchObject(UNAVAILABLE)
      await client.query('ROLLBACK')
    })
    proxy.restore()
    expect(await ledger.get(id)).toMatchObject({ storedCells: 0 })
    expect(await ledger.commit(commitOf(id, [wholeCell(0)]))).toMatchObject({ ok: true })
  })

  it('check tells in bounded time that a server is silent, however long its statements may take', async () => {
    const { proxy, at } = await useProxy()
    const ledger = createLedger(await openDb(at, { statementTimeoutMs: 600_000 }))
    await ledger.check()
    proxy.silence()
    await expect(ledger.check()).rejects.toMatchObject(UNAVAILABLE)
    // Nor does it keep the process from ending.
    await ledger.close()
  })
})

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Prisma } from '../../src/generated/sqlite/client.ts'
import type { UploadEvent } from '../../src/core/events.ts'
import { view } from '../../src/core/view.ts'
import { createDeliveries } from '../../src/ledger/deliveries.ts'
import type { LedgerLimits } from '../../src/ledger/ledger.ts'
import {
  commitOf,
  doneOf,
  EXPIRY,
  LATER,
  newUpload,
  range,
  START,
  uploadIn,
  wholeCell,
  type Fixture,
} from './ledger-fixture.ts'

const RECEIVER = 'https://a.example/hook'
const WEBHOOKS = { urls: [RECEIVER] }
const ALL_CELLS = range(5).map((index) => wholeCell(index))

/** Every event that was recorded and not told here before, in order. */
export async function recorded({ dbs }: Fixture, receiver = RECEIVER): Promise<UploadEvent[]> {
  const deliveries = createDeliveries(dbs[0])
  const events: UploadEvent[] = []
  for (;;) {
    const some = await deliveries.claim(receiver, 1_000, 60_000)
    if (some.length === 0) return events
    for (const delivery of some) {
      events.push(JSON.parse(delivery.body) as UploadEvent)
      await deliveries.delivered(delivery)
    }
  }
}

const brief = ({ type, data }: UploadEvent): [string | undefined, string] => [data.upload_id, type]

/** What becomes of uploads is recorded with it. */
export function tellsEvents(open: (options?: LedgerLimits) => Promise<Fixture>): void {
  let fixture: Fixture
  beforeAll(async () => {
    fixture = await open({ webhooks: WEBHOOKS, maxBytesPerUser: 1e6 })
  })
  afterAll(() => fixture.close())
  const told = async () => (await recorded(fixture)).map(brief)

  test('an upload that is created and completed by its last commit tells both, as it was then', async () => {
    const { ledger } = fixture
    const created = await ledger.create(newUpload({ metadata: { a: ['ä', 1] } }))
    const { id } = created
    await ledger.commit(commitOf(id, ALL_CELLS.slice(1), { whenFull: 'COMPLETED' }))
    await ledger.commit(commitOf(id, ALL_CELLS.slice(0, 1), { whenFull: 'COMPLETED' }))
    const completed = await ledger.get(id)
    const events = await recorded(fixture)
    expect(events.map(({ type, occurred_at, data }) => [type, occurred_at, data])).toEqual([
      ['upload.created', START.toISOString(), { ...view(created), user_id: 'ada' }],
      ['upload.completed', LATER.toISOString(), { ...view(completed as typeof created), user_id: 'ada' }],
    ])
    expect(new Set(events.map((event) => event.id)).size).toBe(2)
  })

  test('steps to COMPLETED and FAILED tell it once, with the reason of a failure', async () => {
    const { ledger, other } = fixture
    const ids = [await uploadIn(ledger, 'FINALIZING', true), await uploadIn(ledger, 'FINALIZING', true)]
    await recorded(fixture)
    const steps = await Promise.all([
      ...[ledger, other].map((node) => node.transition(ids[0] as string, 'COMPLETED', LATER)),
      ...[ledger, other].map((node) => node.transition(ids[1] as string, 'FAILED', LATER, 'no such bucket')),
    ])
    expect(steps.filter(Boolean)).toHaveLength(2)
    const events = await recorded(fixture)
    expect(new Map(events.map(brief))).toEqual(
      new Map([
        [ids[0], 'upload.completed'],
        [ids[1], 'upload.failed'],
      ]),
    )
    expect(events).toHaveLength(2)
    const failed = events.find(({ type }) => type === 'upload.failed')
    expect(failed?.data).toMatchObject({ status: 'FAILED', failure_reason: 'no such bucket' })
  })

  test('a length that makes an upload full tells that it is complete', async () => {
    const { ledger } = fixture
    const { id } = await ledger.create(newUpload({ size: null }))
    await ledger.commit(commitOf(id, [wholeCell(0)]))
    await ledger.declareSize(id, 10, LATER, 'COMPLETED')
    expect(await told()).toEqual([
      [id, 'upload.created'],
      [id, 'upload.completed'],
    ])
  })

  test('an upload that expires, and one that is deleted, tell it; those that are not tell nothing', async () => {
    const { ledger, other } = fixture
    const [late, gone] = [await ledger.create(newUpload()), await ledger.create(newUpload())]
    await recorded(fixture)
    expect(await ledger.expire(late.id, START)).toBe(false)
    await Promise.all([ledger.expire(late.id, EXPIRY), other.expire(late.id, EXPIRY)])
    await Promise.all([ledger.markDeleted(gone.id, LATER), other.markDeleted(gone.id, LATER)])
    await ledger.markDeleted(randomUUID(), LATER)
    await ledger.transition(late.id, 'ABORTED', EXPIRY)
    const events = await recorded(fixture)
    expect(events.map(({ type, data }) => [data.upload_id, type, data.status])).toEqual([
      [late.id, 'upload.expired', 'ABORTED'],
      [gone.id, 'upload.deleted', 'ABORTED'],
    ])
  })

  test('steps in between and commits that complete nothing tell nothing', async () => {
    const { ledger } = fixture
    const { id } = await ledger.create(newUpload())
    await recorded(fixture)
    await ledger.commit(commitOf(id, ALL_CELLS.slice(0, 2)))
    await ledger.commit(commitOf(id, ALL_CELLS.slice(0, 2)))
    await ledger.freeCell(id, 0, LATER)
    await ledger.commit(commitOf(id, [wholeCell(0), ...ALL_CELLS.slice(2)], { whenFull: 'FINALIZING' }))
    await ledger.transition(id, 'IN_PROGRESS', LATER)
    expect(await told()).toEqual([])
  })

  test('of many that come together each tells its own', async () => {
    const { ledger, other } = fixture
    const uploads = await Promise.all(
      range(40).map((i) => (i % 2 ? ledger : other).create(newUpload({ size: 10 }))),
    )
    const whenFull = 'COMPLETED'
    // Twice each: one of them loses.
    await Promise.all(
      uploads.flatMap(({ id }) =>
        [ledger, other].map((node) => node.commit(commitOf(id, [wholeCell(0)], { whenFull }))),
      ),
    )
    const wanted = uploads.flatMap(({ id }) => [`${id} upload.created`, `${id} upload.completed`])
    expect((await told()).map((words) => words.join(' ')).toSorted()).toEqual(wanted.toSorted())
  })

  test('what comes again under a key tells nothing the second time', async () => {
    const { ledger } = fixture
    const done = doneOf()
    const [first, second] = [newUpload(), newUpload()]
    await ledger.createOnce(first, done)
    await ledger.createOnce(second, done)
    const key = randomUUID()
    const final = await ledger.createFinal({ ...newUpload({ concat: 'final;/files/a' }), size: 1 }, key)
    await ledger.createFinal({ ...newUpload({ concat: 'final;/files/a' }), size: 1 }, key)
    expect(await told()).toEqual([
      [first.id, 'upload.created'],
      [final.id, 'upload.created'],
    ])
  })

  test('a creation that is refused tells nothing', async () => {
    const { ledger } = fixture
    const refused = newUpload({ ownerId: randomUUID(), size: 1e6 + 1 })
    await expect(ledger.create(refused)).rejects.toMatchObject({ code: 'payload_too_large' })
    await expect(ledger.createOnce(refused, doneOf())).rejects.toMatchObject({ code: 'payload_too_large' })
    expect(await told()).toEqual([])
  })

  test('what can not be recorded does not happen', async () => {
    const { ledger, dbs } = fixture
    const rename = (from: string, to: string) =>
      dbs[0].client.$executeRaw(Prisma.raw(`ALTER TABLE ${from} RENAME TO ${to}`))
    const open = await ledger.create(newUpload())
    const late = await ledger.create(newUpload({ size: null }))
    await ledger.commit(commitOf(late.id, [wholeCell(0)]))
    const finishing = await uploadIn(ledger, 'FINALIZING', true)
    const [first, once, final] = [newUpload(), newUpload(), newUpload({ concat: 'final;/files/a' })]
    const ids = [open.id, late.id, finishing]
    const before = await Promise.all(ids.map((id) => ledger.get(id)))
    await recorded(fixture)

    await rename('webhook_deliveries', 'elsewhere')
    const tried = await Promise.allSettled([
      ledger.create(first),
      ledger.createOnce(once, doneOf()),
      ledger.createFinal({ ...final, size: 1 }, randomUUID()),
      ledger.commit(commitOf(open.id, ALL_CELLS, { whenFull: 'COMPLETED' })),
      ledger.declareSize(late.id, 10, LATER, 'COMPLETED'),
      ledger.transition(finishing, 'COMPLETED', LATER),
      ledger.transition(finishing, 'FAILED', LATER, 'made up'),
      ledger.expire(open.id, EXPIRY),
      ledger.markDeleted(open.id, LATER),
    ])
    await rename('elsewhere', 'webhook_deliveries')
    expect(tried.map(({ status }) => status)).toEqual(tried.map(() => 'rejected'))
    expect(await Promise.all(ids.map((id) => ledger.get(id)))).toEqual(before)
    expect(await ledger.getAll([first.id, once.id, final.id])).toEqual([])
    expect(await told()).toEqual([])
  })

  test('every receiver is told, with one id for one event', async () => {
    const urls = ['https://a.example/1', 'https://a.example/2']
    const ledger = await fixture.another({ webhooks: { urls } })
    const { id } = await ledger.create(newUpload())
    const [[a], [b]] = [await recorded(fixture, urls[0]), await recorded(fixture, urls[1])]
    expect(a).toMatchObject({ type: 'upload.created', data: { upload_id: id } })
    expect(b).toEqual(a)
    expect(await told()).toEqual([])
    await ledger.close()
  })

  test('without receivers nothing is recorded', async () => {
    const ledger = await fixture.another({})
    const { id } = await ledger.create(newUpload())
    await ledger.commit(commitOf(id, ALL_CELLS, { whenFull: 'COMPLETED' }))
    await ledger.markDeleted(id, LATER)
    expect(await told()).toEqual([])
    await ledger.close()
  })
}

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Deliveries, Delivery, UploadEvent } from '../../src/core/events.ts'
import { createDeliveries } from '../../src/ledger/deliveries.ts'
import type { LedgerLimits } from '../../src/ledger/ledger.ts'
import { LATER, newUpload, range, type Fixture } from './ledger-fixture.ts'

const LONG_MS = 60_000
/** of a lease, or a pause, that is over as soon as it has begun */
const NO_TIME = 0

/** How events get to a receiver: any number of processes may take them there. */
export function carriesEvents(open: (options?: LedgerLimits) => Promise<Fixture>): void {
  let fixture: Fixture
  let a: Deliveries
  let b: Deliveries
  /** A receiver of its own for each test. */
  let receiver: string
  let ledger: Fixture['ledger']
  beforeAll(async () => {
    fixture = await open()
    ;[a, b] = [createDeliveries(fixture.dbs[0]), createDeliveries(fixture.dbs[1])]
  })
  beforeEach(async () => {
    receiver = `https://${randomUUID()}.example/`
    ledger = await fixture.another({ webhooks: { urls: [receiver] } })
    return () => ledger.close()
  })
  afterAll(() => fixture.close())

  const create = async () => (await ledger.create(newUpload())).id
  const claim = (of: Deliveries, leaseMs = LONG_MS, limit = 100) => of.claim(receiver, limit, leaseMs)
  const one = async (of: Deliveries, leaseMs = LONG_MS): Promise<Delivery> => {
    const [delivery, ...more] = await claim(of, leaseMs)
    expect([delivery !== undefined, more]).toEqual([true, []])
    return delivery as Delivery
  }
  const eventOf = ({ body }: Delivery) => JSON.parse(body) as UploadEvent
  const typesOf = (some: Delivery[]) => some.map((delivery) => eventOf(delivery).type)

  test('what one has taken no other takes, however many come at once', async () => {
    const ids = await Promise.all(range(60).map(create))
    const shares = await Promise.all(range(12).map((i) => claim(i % 2 ? a : b, LONG_MS, 7)))
    const taken = shares.flat().map((delivery) => eventOf(delivery).data.upload_id)
    expect(taken).toHaveLength(new Set(taken).size)
    // Those who were passed over come again.
    const rest = await claim(a)
    taken.push(...rest.map((delivery) => eventOf(delivery).data.upload_id))
    expect(taken.toSorted()).toEqual(ids.toSorted())
    expect(shares.every((share) => share.length <= 7)).toBe(true)
  })

  test('what a dead process had taken is taken when its lease is over, as the same event', async () => {
    await create()
    const first = await one(a, NO_TIME)
    const second = await one(b)
    expect(second).toMatchObject({ eventId: first.eventId, body: first.body, attempts: 0 })
    expect(await claim(a)).toEqual([])
  })

  test('what was delivered is not sent again, whoever has taken it since', async () => {
    await create()
    const first = await one(a, NO_TIME)
    await one(b, NO_TIME)
    await a.delivered(first)
    expect(await claim(b)).toEqual([])
  })

  test('what failed is due again after its pause, and counts its attempts', async () => {
    await create()
    await a.failed(await one(a), 'ECONNREFUSED', NO_TIME)
    const second = await one(b)
    expect(second.attempts).toBe(1)
    await b.failed(second, 'status 500', LONG_MS)
    expect(await claim(a)).toEqual([])
  })

  test('who lost it to another can no longer fail it or give it back', async () => {
    await create()
    const lost = await one(a, NO_TIME)
    const held = await one(b)
    await a.failed(lost, 'late', null)
    await a.release(lost)
    expect(await claim(a)).toEqual([])
    await b.release(held)
    expect(await one(a)).toMatchObject({ attempts: 0, eventId: held.eventId })
  })

  test('an upload’s events go in their order, until the first attempt of the earlier one is over', async () => {
    const id = await create()
    await ledger.markDeleted(id, LATER)
    const first = await claim(a)
    expect([typesOf(first), await claim(b)]).toEqual([['upload.created'], []])
    await a.failed(first[0] as Delivery, 'status 500', LONG_MS)
    expect(typesOf(await claim(b))).toEqual(['upload.deleted'])
  })

  test('what was given up is listed, the latest first and page by page, and is sent again on request', async () => {
    const ids = [await create(), await create(), await create()]
    for (const delivery of await claim(a)) await a.failed(delivery, 'status 410', null)
    expect(await claim(a)).toEqual([])
    const [latest, ...rest] = await a.dead(2)
    expect(latest).toMatchObject({
      endpoint: receiver,
      attempts: 1,
      lastError: 'status 410',
      lastAttemptAt: expect.any(Date) as Date,
      event: { type: 'upload.created', data: { upload_id: ids[2] } },
    })
    expect(rest.map(({ event }) => event.data.upload_id)).toEqual([ids[1]])
    const [oldest] = await b.dead(1, rest[0]?.seq)
    expect(oldest?.event.data.upload_id).toBe(ids[0])

    expect(await b.replay(latest?.event.id as string)).toBe(1)
    expect(await b.replay(latest?.event.id as string)).toBe(0)
    expect(await b.replay(randomUUID())).toBe(0)
    const again = await one(a)
    expect(again).toMatchObject({ eventId: latest?.event.id, attempts: 0 })
    expect(eventOf(again)).toEqual(latest?.event)
  })

  test('what is over is forgotten after its time, and what waits is not', async () => {
    await create()
    await create()
    const [gone, dead] = (await claim(a)) as [Delivery, Delivery]
    await create()
    await a.delivered(gone)
    await a.failed(dead, 'status 500', null)
    const listed = async () => (await a.dead(100)).some(({ endpoint }) => endpoint === receiver)
    await a.forget({ deliveredMs: LONG_MS, deadMs: LONG_MS }, 1_000)
    expect(await listed()).toBe(true)
    await a.forget({ deliveredMs: NO_TIME, deadMs: NO_TIME }, 1_000)
    expect(await listed()).toBe(false)
    expect(await claim(b)).toHaveLength(1)
    expect(await a.forget({ deliveredMs: NO_TIME, deadMs: NO_TIME }, 1_000)).toBe(0)
  })

  test('what nobody tells a former receiver is given up', async () => {
    await create()
    await a.giveUpOthers([receiver], NO_TIME)
    await a.giveUpOthers(['https://b.example/'], LONG_MS)
    const before = await a.backlog()
    const given = await a.giveUpOthers(['https://b.example/'], NO_TIME)
    expect(given).toBeGreaterThan(0)
    expect(await a.backlog()).toMatchObject({ pending: before.pending - given, dead: before.dead + given })
    expect(await claim(a)).toEqual([])
    expect((await a.dead(1))[0]).toMatchObject({ endpoint: receiver, attempts: 0, lastAttemptAt: null })
  })

  test('the backlog tells how much waits, and how long the oldest of it has', async () => {
    const urls = ['https://a.example/']
    const fresh = await open({ webhooks: { urls } })
    const own = createDeliveries(fresh.dbs[0])
    expect(await own.backlog()).toEqual({ pending: 0, dead: 0, ageMs: 0 })
    await fresh.ledger.create(newUpload())
    await new Promise((resolve) => setTimeout(resolve, 20))
    await fresh.ledger.create(newUpload())
    const { ageMs, ...counts } = await own.backlog()
    expect([counts, ageMs >= 10]).toEqual([{ pending: 2, dead: 0 }, true])
    const [delivery] = await own.claim(urls[0] as string, 1, LONG_MS)
    await own.failed(delivery as Delivery, 'status 500', null)
    expect(await own.backlog()).toMatchObject({ pending: 1, dead: 1 })
    await fresh.close()
  })
}

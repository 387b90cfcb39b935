import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Deliveries } from '../../src/core/events.ts'
import { startDispatcher } from '../../src/events/dispatcher.ts'
import { sender } from '../../src/events/send.ts'
import { createDeliveries } from '../../src/ledger/deliveries.ts'
import { createLedger } from '../../src/ledger/ledger.ts'
import { migrateUp } from '../../src/ledger/migrate.ts'
import { openDb } from '../../src/ledger/open.ts'
import { useFolder } from '../support/folder.ts'
import { useReceiver } from '../support/receiver.ts'
import { eventually } from '../support/slow-request.ts'
import { newUpload, range } from './ledger-fixture.ts'

/**
 * A dispatcher on a real ledger, with a real receiver.
 * @param change what the test puts in front of the ledger
 */
async function useDispatcher(change: (deliveries: Deliveries) => Partial<Deliveries>) {
  const receiver = await useReceiver()
  const url = `file:${path.join(await useFolder(), 'uploads.db')}`
  await migrateUp(url)
  const db = await openDb(url)
  const ledger = createLedger(db, { webhooks: { urls: [receiver.url] } })
  const deliveries = createDeliveries(db)
  const troubles: unknown[] = []
  const results: string[] = []
  const limits = { maxAttempts: 3, retryMs: 10, timeoutMs: 1_000 }
  const dispatcher = startDispatcher({
    endpoint: receiver.url,
    deliveries: { ...deliveries, ...change(deliveries) },
    send: sender({ secrets: [Buffer.alloc(32)], timeoutMs: limits.timeoutMs, version: '0' }),
    limits,
    onResult: (result) => results.push(result),
    onTrouble: (error) => troubles.push(error),
  })
  onTestFinished(async () => {
    await dispatcher.stop(0)
    await ledger.close()
  })
  return { receiver, ledger, deliveries, dispatcher, troubles, results }
}

const away = () => Promise.reject(new Error('the database is away'))

test('while the ledger is away that is told once, and what is due is sent when it is back', async () => {
  let down = true
  let looks = 0
  const { receiver, ledger, troubles } = await useDispatcher(({ claim }) => ({
    claim(...args) {
      looks += 1
      return down ? away() : claim(...args)
    },
  }))
  await ledger.create(newUpload())
  await eventually(() => looks >= 3, 'it looks again and again')
  expect([troubles.length, receiver.received.length]).toEqual([1, 0])
  down = false
  await receiver.until(1)
  down = true
  await eventually(() => troubles.length === 2, 'the next time is told, too')
})

test('what arrived and could not be noted is sent again when its lease is over', async () => {
  let failures = 1
  const { receiver, ledger, deliveries, results } = await useDispatcher(({ delivered }) => ({
    delivered: (delivery) => (failures-- > 0 ? away() : delivered(delivery)),
  }))
  await ledger.create(newUpload())
  await receiver.until(2)
  expect(receiver.received[1]?.body).toBe(receiver.received[0]?.body)
  await eventually(async () => (await deliveries.backlog()).pending === 0, 'it is noted')
  expect(results).toEqual(['delivered', 'delivered'])
})

test('a stop ends, though the ledger does not answer', async () => {
  const { receiver, ledger, dispatcher } = await useDispatcher(() => ({
    delivered: () => new Promise(() => {}),
  }))
  await ledger.create(newUpload())
  await receiver.until(1)
  await dispatcher.stop(100)
  await ledger.create(newUpload())
  expect(receiver.received).toHaveLength(1)
})

test('a receiver gets eight events at a time and no more', async () => {
  let open = 0
  let most = 0
  const { receiver, ledger, deliveries } = await useDispatcher(() => ({}))
  receiver.answer((res) => {
    most = Math.max(most, ++open)
    setTimeout(() => {
      open -= 1
      res.writeHead(200).end()
    }, 50)
  })
  await Promise.all(range(60).map(() => ledger.create(newUpload())))
  await receiver.until(60)
  await eventually(async () => (await deliveries.backlog()).pending === 0, 'all are delivered')
  expect([most > 1, most <= 8]).toEqual([true, true])
  expect(new Set(receiver.received.map(({ event }) => event.id)).size).toBe(60)
})

test('what was claimed while a shutdown cut all others off is not sent', async () => {
  const receiver = await useReceiver()
  const send = sender({ secrets: [Buffer.alloc(32)], timeoutMs: 1_000, version: '0' })
  const delivery = { seq: 1, eventId: 'an-event', body: '{}', attempts: 0, claim: 'ours' }
  expect(await send(receiver.url, delivery, AbortSignal.abort())).toBe('the process ends')
  expect(receiver.received).toEqual([])
})

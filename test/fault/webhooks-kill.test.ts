import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { EventType } from '../../src/core/events.ts'
import { builtServer } from '../support/built-process.ts'
import { clientOf, patchAt, type Client } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { seededRandom } from '../support/proxy.ts'
import { accept, refuse, useReceiver, verify, webhookEnv, type Receiver } from '../support/receiver.ts'
import { eventually } from '../support/slow-request.ts'
import { createByTus, createNatively } from '../support/uploading.ts'
import { untilGone } from './kill-rounds/client.ts'

/** FAULT_ROUNDS=200 for many more, FAULT_SEED=… for others. */
const ROUNDS = Number(process.env['FAULT_ROUNDS'] ?? 12)
const SEED = Number(process.env['FAULT_SEED'] ?? 20_261_125)
/** Of a round, at random up to here: uploads that are completed, and the time after them. */
const MOST_UPLOADS = 6
const LONGEST_MS = 60

const start = builtServer()

interface Acknowledged {
  completed: Set<string>
  deleted: Set<string>
}

/** Creates, completes and deletes uploads by both dialects until the server is gone. */
async function work(call: Client, random: () => number, { completed, deleted }: Acknowledged): Promise<void> {
  await untilGone(async () => {
    let id: string
    if (random() < 0.5) {
      id = await createByTus(call, 5)
      expect((await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: 'hello' })).status).toBe(204)
    } else {
      id = await createNatively(call, 5, 5)
      await call('PUT', `/v1/uploads/${id}/chunks/0`, { body: 'hello' })
      expect((await call('POST', `/v1/uploads/${id}/complete`)).status).toBe(200)
    }
    completed.add(id)
    if (random() > 0.2) return
    expect((await call('DELETE', `/v1/uploads/${id}`)).status).toBe(204)
    deleted.add(id)
  })
}

/** The ids of all uploads, or of those in a status, as the API lists them. */
async function listed(call: Client, status = ''): Promise<Set<string>> {
  const ids = new Set<string>()
  let cursor = ''
  do {
    const { json } = await call('GET', `/v1/uploads?limit=1000${status}${cursor}`)
    for (const { upload_id: id } of json.uploads) ids.add(id)
    cursor = json.next_cursor === null ? '' : `&cursor=${json.next_cursor}`
  } while (cursor !== '')
  return ids
}

const told = ({ received }: Receiver, type: EventType): Set<string> =>
  new Set(received.filter(({ event }) => event.type === type).map(({ event }) => event.data.upload_id))

const without = (all: Set<string>, some: Set<string>): string[] => [...all].filter((id) => !some.has(id))

test(
  `kill -9 at ${ROUNDS} random moments: exactly what became of uploads is told (seed ${SEED})`,
  async () => {
    const root = await useFolder()
    const random = seededRandom(SEED)
    // Some attempts fail, and some answers come too late for the process that waits for them.
    const receiver = await useReceiver((res, attempt, received) => {
      if (attempt % 7 === 0) refuse(500)(res, attempt, received)
      else if (attempt % 5 === 0) setTimeout(() => accept(res, attempt, received), 200)
      else accept(res, attempt, received)
    })
    const boot = () => start(root, { ...webhookEnv(receiver), WEBHOOK_TIMEOUT_SECONDS: '1' })
    const acknowledged: Acknowledged = { completed: new Set(), deleted: new Set() }

    for (let round = 0; round < ROUNDS; round++) {
      const { server } = await boot()
      const working = Promise.all(
        [1, 2, 3, 4, 5, 6].map(() => work(clientOf(server.url), random, acknowledged)),
      )
      const enough = acknowledged.completed.size + random() * MOST_UPLOADS
      await eventually(() => acknowledged.completed.size >= enough, 'enough is completed', 60_000)
      await sleep(random() * LONGEST_MS)
      expect(await server.signal('SIGKILL')).toBe('SIGKILL')
      await working
    }

    receiver.answer(accept)
    const { call } = await boot()
    const pending = async () => (await call('GET', '/metrics')).text.includes('\nwebhook_pending_events 0\n')
    await eventually(pending, 'all of it is told', 60_000)
    for (const received of receiver.received) verify(received)
    const [all, complete] = [await listed(call), await listed(call, '&status=COMPLETED')]
    const [created, completed, deleted] = (
      ['upload.created', 'upload.completed', 'upload.deleted'] as const
    ).map((type) => told(receiver, type)) as [Set<string>, Set<string>, Set<string>]

    expect(without(acknowledged.completed, completed)).toEqual([])
    expect(without(acknowledged.deleted, deleted)).toEqual([])
    // What is gone was deleted, and all else is there: nothing is told that was not.
    expect([...created].toSorted()).toEqual([...all, ...deleted].toSorted())
    expect(without(complete, completed)).toEqual([])
    expect(without(completed, complete).toSorted()).toEqual([...deleted].toSorted())
  },
  120_000 + ROUNDS * 10_000,
)

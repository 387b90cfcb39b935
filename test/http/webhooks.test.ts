import { expect, test } from 'vitest'
import { clientOf, patchAt, TUS, type Client } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import {
  accept,
  OLD_SECRET,
  refuse,
  SECRET,
  useReceiver,
  verify,
  webhookEnv,
  type Received,
} from '../support/receiver.ts'
import { BOB, startTestServer, useServer } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'
import { createByTus, createNatively } from '../support/uploading.ts'

/** @returns the id of a finished upload of five bytes */
async function upload(call: Client): Promise<string> {
  const id = await createByTus(call, 5)
  expect((await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: 'hello' })).status).toBe(204)
  return id
}

const counted = async (call: Client, line: string) =>
  (await call('GET', '/metrics')).text.split('\n').find((each) => each.startsWith(`${line} `))

test('a receiver is told what becomes of an upload, signed, and as the API shows it', async () => {
  const receiver = await useReceiver()
  const { url } = await useServer(webhookEnv(receiver))
  const call = clientOf(url)
  const id = await createNatively(call, 5, 5)
  await receiver.until(1)
  expect(receiver.received[0]?.event).toMatchObject({ type: 'upload.created', data: { status: 'INITIATED' } })
  await call('PUT', `/v1/uploads/${id}/chunks/0`, { body: 'hello' })
  await call('POST', `/v1/uploads/${id}/complete`)
  await receiver.until(2)

  const [, completed] = receiver.received as [Received, Received]
  const { json: shown } = await call('GET', `/v1/uploads/${id}`)
  expect(verify(completed)).toEqual({
    id: completed.headers['webhook-id'],
    type: 'upload.completed',
    occurred_at: shown.updated_at,
    data: { ...shown, user_id: 'alice' },
  })
  expect(completed.headers['content-type']).toBe('application/json')
  expect(() => verify({ ...completed, body: completed.body.replace('5', '6') })).toThrow()
  expect(() => verify(completed, OLD_SECRET)).toThrow()

  await call('DELETE', `/v1/uploads/${id}`)
  await receiver.until(3)
  expect(receiver.typesOf(id)).toEqual(['upload.created', 'upload.completed', 'upload.deleted'])
  expect(new Set(receiver.received.map(({ event }) => event.id)).size).toBe(3)
})

test('an expiry is told as one', async () => {
  const receiver = await useReceiver()
  const { url } = await useServer({
    ...webhookEnv(receiver),
    ADMIN_USER_IDS: 'alice',
    UPLOAD_TTL_SECONDS: '1',
  })
  const call = clientOf(url)
  const id = await createByTus(call, 5)
  await eventually(async () => {
    await call('POST', '/v1/admin/cleanup')
    return receiver.typesOf(id).includes('upload.expired')
  }, 'the expiry is told')
  expect(receiver.received.at(-1)?.event.data).toMatchObject({ status: 'ABORTED', offset: 0 })
})

test('with two secrets a receiver may know either', async () => {
  const receiver = await useReceiver()
  const { url } = await useServer({ ...webhookEnv(receiver), WEBHOOK_SECRET: `${OLD_SECRET}, ${SECRET}` })
  await upload(clientOf(url))
  await receiver.until(2)
  for (const received of receiver.received)
    expect([verify(received, SECRET), verify(received, OLD_SECRET)]).toEqual([received.event, received.event])
})

test.each([
  ['answers 500', refuse(500)],
  ['answers 404', refuse(404)],
  ['breaks the connection', (res: Parameters<typeof accept>[0]) => res.destroy()],
])(
  'a receiver that %s is asked again, with the same event and a signature of its own time',
  async (_, fail) => {
    const receiver = await useReceiver((res, attempt, received) =>
      (attempt < 3 ? fail : accept)(res, attempt, received),
    )
    const { url } = await useServer(webhookEnv(receiver))
    const call = clientOf(url)
    await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '5' } })
    await receiver.until(3)
    const ids = receiver.received.map(({ headers }) => headers['webhook-id'])
    expect(new Set(ids).size).toBe(1)
    expect(new Set(receiver.received.map(({ body }) => body)).size).toBe(1)
    for (const received of receiver.received) verify(received)
    const times = receiver.received.map(({ headers }) => Number(headers['webhook-timestamp']))
    expect((times[2] ?? 0) > (times[0] ?? 0)).toBe(true)
    await eventually(
      async () => (await counted(call, 'webhook_pending_events')) === 'webhook_pending_events 0',
      'nothing is pending',
    )
    expect(await counted(call, 'webhook_attempts_total{result="failed"}')).toMatch(/ 2$/)
    expect(await counted(call, 'webhook_attempts_total{result="delivered"}')).toMatch(/ 1$/)
  },
)

test.each([301, 302, 307, 308])('a redirect (%i) is not followed, and is a failure', async (status) => {
  const elsewhere = await useReceiver()
  const receiver = await useReceiver(refuse(status, { Location: elsewhere.url }))
  const { url } = await useServer({
    ...webhookEnv(receiver),
    WEBHOOK_MAX_ATTEMPTS: '1',
    ADMIN_USER_IDS: 'alice',
  })
  const call = clientOf(url)
  await createByTus(call, 5)
  const dead = async () => (await call('GET', '/v1/admin/webhooks/dead')).json.dead
  await eventually(async () => (await dead()).length === 1, 'it is given up')
  expect((await dead())[0].last_error).toBe(`status ${status}, and redirects are not followed`)
  expect(elsewhere.received).toEqual([])
})

test('a receiver that does not answer is given up on in time, and holds up no other', async () => {
  const silent = await useReceiver(() => {})
  const receiver = await useReceiver()
  const { url } = await useServer({
    ...webhookEnv(silent, receiver),
    WEBHOOK_TIMEOUT_SECONDS: '1',
    WEBHOOK_MAX_ATTEMPTS: '1',
    ADMIN_USER_IDS: 'alice',
  })
  const call = clientOf(url)
  const ids = await Promise.all(Array.from({ length: 20 }, () => upload(call)))
  await receiver.until(40)
  for (const id of ids) expect(receiver.typesOf(id)).toEqual(['upload.created', 'upload.completed'])
  await eventually(async () => {
    const { dead } = (await call('GET', '/v1/admin/webhooks/dead')).json
    return dead.some((letter: { last_error: string }) => letter.last_error === 'no answer within 1 s')
  }, 'the silent one is given up on')
})

test('an answer without end is success by its status, and is not read', async () => {
  let taken = 0
  const receiver = await useReceiver((res) => {
    res.writeHead(200)
    const more = () => {
      while (!res.destroyed && res.write(Buffer.alloc(65_536))) taken += 65_536
    }
    res.on('drain', more)
    more()
  })
  const { url } = await useServer(webhookEnv(receiver))
  const call = clientOf(url)
  await createByTus(call, 5)
  await eventually(
    async () => (await counted(call, 'webhook_attempts_total{result="delivered"}'))?.endsWith(' 1') ?? false,
    'it is delivered',
  )
  expect(receiver.received).toHaveLength(1)
  // What the kernel holds on both sides, and little more.
  expect(taken).toBeLessThan(32 * 1024 * 1024)
})

test('what happened while the receiver was away is told after a restart', async () => {
  const receiver = await useReceiver()
  const comeBack = await receiver.goAway()
  const root = await useFolder()
  const first = await startTestServer(webhookEnv(receiver), root)
  const call = clientOf(first.url)
  const id = await upload(call)
  await eventually(
    async () => /failed"} [1-9]/.test((await call('GET', '/metrics')).text),
    'an attempt has failed',
  )
  await first.close()
  await comeBack()
  const second = await startTestServer(webhookEnv(receiver), root)
  await receiver.until(2)
  expect(receiver.typesOf(id).toSorted()).toEqual(['upload.completed', 'upload.created'])
  await second.close()
})

test('a shutdown does not wait for a receiver beyond its grace, and what was under way is told later', async () => {
  const receiver = await useReceiver(() => {})
  const root = await useFolder()
  const env = { ...webhookEnv(receiver), WEBHOOK_TIMEOUT_SECONDS: '60', WEBHOOK_RETRY_SECONDS: '3600' }
  const first = await startTestServer(env, root)
  await createByTus(clientOf(first.url), 5)
  await receiver.until(1)
  await first.close()
  receiver.answer(accept)
  const second = await startTestServer(env, root)
  // Were it still leased, this would take a minute; had it failed, half an hour.
  await receiver.until(2)
  expect(receiver.received[1]?.body).toBe(receiver.received[0]?.body)
  await second.close()
})

test('an event that was given up is listed for administrators, and sent again when they say so', async () => {
  const receiver = await useReceiver(refuse(500))
  const { url } = await useServer({
    ...webhookEnv(receiver),
    WEBHOOK_URL: `${receiver.url}?token=hush`,
    WEBHOOK_MAX_ATTEMPTS: '2',
    ADMIN_USER_IDS: 'alice',
  })
  const call = clientOf(url)
  const id = await createByTus(call, 5)
  const list = (query = '') => call('GET', `/v1/admin/webhooks/dead${query}`)
  await eventually(async () => (await list()).json.dead.length === 1, 'it is given up')
  const { json, text } = await list()
  const [letter] = json.dead
  expect(json.next_cursor).toBeNull()
  expect(text).not.toContain('hush')
  expect(letter).toMatchObject({
    receiver: receiver.url,
    attempts: 2,
    last_error: 'status 500',
    event: { type: 'upload.created', data: { upload_id: id, user_id: 'alice' } },
  })
  expect(await counted(call, 'webhook_dead_events')).toBe('webhook_dead_events 1')
  expect(await counted(call, 'webhook_attempts_total{result="dead"}')).toMatch(/ 1$/)

  const replay = (who: Client, event: string) => who('POST', `/v1/admin/webhooks/${event}/replay`)
  expect((await replay(clientOf(url, BOB), letter.event.id)).status).toBe(403)
  receiver.answer(accept)
  const answer = await replay(call, letter.event.id)
  expect([answer.status, answer.json]).toEqual([202, { event_id: letter.event.id, receivers: 1 }])
  await receiver.until(3)
  expect(receiver.received[2]?.body).toBe(receiver.received[0]?.body)
  expect((await list()).json.dead).toEqual([])
  for (const event of [letter.event.id, id, 'x', '%00']) expect((await replay(call, event)).status).toBe(404)
})

test('dead letters come page by page', async () => {
  const receiver = await useReceiver(refuse(410))
  const { url } = await useServer({
    ...webhookEnv(receiver),
    WEBHOOK_MAX_ATTEMPTS: '1',
    ADMIN_USER_IDS: 'alice',
  })
  const call = clientOf(url)
  const ids = []
  for (let i = 0; i < 5; i++) ids.push(await createByTus(call, 5))
  await eventually(async () => (await call('GET', '/v1/admin/webhooks/dead')).json.dead.length === 5, 'five')
  const listed: string[] = []
  let cursor: string | null = ''
  for (let pages = 0; cursor !== null && pages < 5; pages++) {
    const query: string = cursor === '' ? '?limit=2' : `?limit=2&cursor=${cursor}`
    const { json }: { json: any } = await call('GET', `/v1/admin/webhooks/dead${query}`)
    listed.push(...json.dead.map((letter: { event: Received['event'] }) => letter.event.data.upload_id))
    cursor = json.next_cursor
  }
  expect(listed).toEqual(ids.toReversed())
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'cursor=x', 'cursor=-1']) {
    const refused = await call('GET', `/v1/admin/webhooks/dead?${query}`)
    expect([query, refused.status, refused.json.error_code]).toEqual([query, 422, 'unprocessable'])
  }
})

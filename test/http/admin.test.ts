import { expect, test } from 'vitest'
import { clientOf, patchAt, TUS, type Client } from '../support/client.ts'
import { BOB, useServer } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'
import { bearer, JWT_SECRET, tokenFor } from '../support/tokens.ts'

const cleanUp = (call: Client) => call('POST', '/v1/admin/cleanup')

/** Uploads of five bytes, of which two are there. */
const createSome = async (call: Client, count: number) => {
  const paths: string[] = []
  for (let i = 0; i < count; i++) {
    const { headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '5' } })
    const path = new URL(headers.get('location') ?? '').pathname
    await call('PATCH', path, { headers: patchAt(0), body: 'he' })
    paths.push(path)
  }
  return paths
}

const expired = (call: Client, path: string) =>
  eventually(async () => (await call('HEAD', path, { headers: TUS })).status === 410, 'it has expired')

test('an administrator cleans up, and is told how much', async () => {
  const { url } = await useServer({ ADMIN_USER_IDS: 'root,alice', UPLOAD_TTL_SECONDS: '1' })
  const call = clientOf(url)
  const paths = await createSome(call, 3)
  for (const path of paths) await expired(call, path)
  const { status, json } = await cleanUp(call)
  expect(status).toBe(200)
  expect(json).toEqual({
    status: 'ok',
    expired_uploads: 3,
    removed_uploads: 0,
    removed_objects: 3,
    failed_uploads: 0,
    forgotten_keys: 0,
  })
  expect((await cleanUp(call)).json).toMatchObject({ expired_uploads: 0, removed_objects: 0 })
})

test('a clean-up forgets keys whose time is over', async () => {
  const { url } = await useServer({ ADMIN_USER_IDS: 'alice', IDEMPOTENCY_TTL_SECONDS: '1' })
  const call = clientOf(url)
  for (const key of ['a', 'b'])
    await call('POST', '/v1/uploads/init', {
      headers: { 'Idempotency-Key': key },
      body: { file_name: 'a', file_size: 1 },
    })
  let forgotten = 0
  await eventually(async () => {
    forgotten += (await cleanUp(call)).json.forgotten_keys
    return forgotten === 2
  }, 'both keys are forgotten')
})

test('of several clean-ups at once each upload is counted by one', async () => {
  const { url } = await useServer({ ADMIN_USER_IDS: 'alice', UPLOAD_TTL_SECONDS: '1' })
  const call = clientOf(url)
  const paths = await createSome(call, 10)
  for (const path of paths) await expired(call, path)
  const answers = await Promise.all(Array.from({ length: 5 }, () => cleanUp(call)))
  const sum = (field: string) => answers.reduce((all, { json }) => all + json[field], 0)
  expect([sum('expired_uploads'), sum('removed_objects'), sum('failed_uploads')]).toEqual([10, 10, 0])
})

test('who is no administrator is 403, and nothing is cleaned up', async () => {
  const { url } = await useServer({ ADMIN_USER_IDS: 'alice', UPLOAD_TTL_SECONDS: '1' })
  const [alice, bob] = [clientOf(url), clientOf(url, BOB)]
  const [path = ''] = await createSome(bob, 1)
  await expired(bob, path)
  const refused = await cleanUp(bob)
  expect([refused.status, refused.json.error_code]).toEqual([403, 'forbidden'])
  expect((await cleanUp(clientOf(url, null))).status).toBe(401)
  expect((await cleanUp(alice)).json.expired_uploads).toBe(1)
})

test('without ADMIN_USER_IDS nobody is an administrator', async () => {
  const { url } = await useServer()
  expect((await cleanUp(clientOf(url))).status).toBe(403)
})

test('a token of an administrator is one, too', async () => {
  const { url } = await useServer({ ADMIN_USER_IDS: 'root', AUTH_MODE: 'jwt', JWT_SECRET })
  const as = (sub: string) =>
    clientOf(url, null)('POST', '/v1/admin/cleanup', { headers: bearer(tokenFor(sub)) })
  expect([(await as('root')).status, (await as('Root')).status]).toEqual([200, 403])
})

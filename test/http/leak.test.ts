import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import v8 from 'node:v8'
import vm from 'node:vm'
import { expect, test } from 'vitest'
import { APPEND_TYPE } from '../../src/core/tus.ts'
import { TUS } from '../support/client.ts'
import { ALICE, useServer } from '../support/server.ts'

/** What 10,000 uploads may leave behind: the owners that are remembered, and what node keeps for itself. */
const MOST_LEFT_BYTES = 12 * 1024 * 1024
const UPLOADS = 10_000
const WARM_UP = 2_000
const AT_A_TIME = 16

test('ten thousand uploads leave nothing on the heap', { timeout: 300_000 }, async () => {
  const server = await useServer({ LOG_LEVEL: 'silent' })
  const agent = new Agent({ keepAlive: true, maxSockets: AT_A_TIME })
  const send = (method: string, path: string, headers: Record<string, string>, body = '') =>
    new Promise<{ status: number; location: string }>((resolve, reject) => {
      const options = { agent, method, headers: { 'X-API-Key': ALICE, ...TUS, ...headers } }
      request(new URL(path, server.url), options, (res) => {
        res
          .resume()
          .once('end', () => resolve({ status: res.statusCode ?? 0, location: res.headers.location ?? '' }))
      })
        .once('error', reject)
        .end(body)
    })

  /** Creates, appends, looks, downloads; every tenth by chunk index, and every other one is deleted. */
  const upload = async (turn: number): Promise<void> => {
    const created = await send('POST', '/files', { 'Upload-Length': '5' })
    const { pathname } = new URL(created.location)
    const id = pathname.split('/').at(-1)
    const brought =
      turn % 10 === 0
        ? await send('PUT', `/v1/uploads/${id}/chunks/0`, {}, 'hello')
        : await send('PATCH', pathname, { 'Upload-Offset': '0', 'Content-Type': APPEND_TYPE }, 'hello')
    expect(brought.status).toBe(turn % 10 === 0 ? 202 : 204)
    expect((await send('GET', pathname, {})).status).toBe(200)
    if (turn % 2 === 0) expect((await send('DELETE', pathname, {})).status).toBe(204)
  }
  const uploadMany = async (count: number) => {
    let turn = 0
    const worker = async () => {
      while (turn < count) await upload(turn++)
    }
    await Promise.all(Array.from({ length: AT_A_TIME }, worker))
  }

  await uploadMany(WARM_UP)
  const before = await settledHeap()
  await uploadMany(UPLOADS)
  expect((await settledHeap()) - before).toBeLessThan(MOST_LEFT_BYTES)
  agent.destroy()
})

/** Bytes that are in use once everything that can go has gone. */
async function settledHeap(): Promise<number> {
  v8.setFlagsFromString('--expose_gc')
  const collect = vm.runInNewContext('gc') as () => void
  for (let i = 0; i < 3; i++) {
    await sleep(200)
    collect()
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

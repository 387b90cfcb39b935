import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt, TUS } from '../support/client.ts'
import { filesIn } from '../support/folder.ts'
import { startTestServer, type TestServer } from '../support/server.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'
import { createByTus, createNatively, offsetOf } from '../support/uploading.ts'

export interface Proxy {
  /** what its clients reach it by */
  url: string
  /** of requests; absent where the configuration has none */
  readLog?(): Promise<string>
  stop(): Promise<void>
}

const CELL = MIB / 4
const WRONG_KEYS = 5
/** more than any of it takes where the machine has other things to do */
const PATIENCE_MS = 30_000

/** Two real servers on one database behind a proxy, as its shipped configuration has them, and what must hold. */
export function behindProxy(startProxy: (servers: [string, string]) => Promise<Proxy>): void {
  let root: string
  let servers: [TestServer, TestServer]
  let proxy: Proxy
  const call = (...args: Parameters<ReturnType<typeof clientOf>>) => clientOf(proxy.url)(...args)

  beforeAll(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'uploads-'))
    const env = {
      LEASES: 'on',
      TRUST_PROXY: 'true',
      CHUNK_SIZE_BYTES: String(CELL),
      AUTH_FAILURES_PER_MINUTE: String(WRONG_KEYS),
    }
    servers = [await startTestServer(env, root), await startTestServer(env, root)]
    const [first, second] = servers.map(({ url }) => new URL(url).host)
    proxy = await startProxy([first ?? '', second ?? ''])
    await eventually(
      async () => (await fetch(`${proxy.url}/health`).catch(() => null))?.status === 200,
      'the proxy passes a request on',
      PATIENCE_MS,
    )
  })
  afterAll(async () => {
    await proxy?.stop()
    await Promise.all(servers.map((server) => server.close()))
    await rm(root, { recursive: true, force: true })
  })

  test('a link works, and whoever reads the log of the proxy does not find it', async () => {
    const id = await createByTus(call, 5)
    await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: 'hello' })
    const { json } = await call('POST', `/v1/uploads/${id}/links`)
    const { pathname } = new URL(json.url)
    expect((await call('GET', pathname)).text).toBe('hello')
    const { readLog } = proxy
    if (!readLog) return
    await eventually(async () => (await readLog()).includes(`${id}/links`), 'the log is written', PATIENCE_MS)
    expect(await readLog()).not.toContain('/v1/links/')
  })

  test('the first bytes of a PATCH count before its last one was sent', async () => {
    const bytes = bytesOf(2 * MIB)
    const id = await createByTus(call, bytes.length)
    const patch = slowRequest(proxy.url, 'PATCH', `/files/${id}`, {
      ...patchAt(0),
      'Content-Length': String(bytes.length),
    })
    await patch.send(bytes.subarray(0, MIB))
    const direct = clientOf(servers[0].url)
    await eventually(async () => (await offsetOf(direct, id)) >= CELL, 'a first cell counts', PATIENCE_MS)
    await patch.send(bytes.subarray(MIB))
    patch.end()
    expect((await patch.answer).status).toBe(204)
    expect(sha256(await download(proxy.url, `/files/${id}`))).toBe(sha256(bytes))
  })

  test('the first bytes of a chunk are on the disk before its last one was sent', async () => {
    const bytes = bytesOf(2 * MIB, 2)
    const id = await createNatively(call, bytes.length, bytes.length)
    const put = slowRequest(proxy.url, 'PUT', `/v1/uploads/${id}/chunks/0`, {
      'Content-Length': String(bytes.length),
    })
    // More than a megabyte, which is what the server gathers before it writes.
    await put.send(bytes.subarray(0, bytes.length - 1))
    await eventually(
      async () => {
        const file = (await filesIn(path.join(root, 'files'))).find((name) => name.includes(id))
        return file !== undefined && (await stat(file)).size >= MIB
      },
      'a first part of the chunk is on the disk',
      PATIENCE_MS,
    )
    await put.send(bytes.subarray(-1))
    put.end()
    expect((await put.answer).status).toBe(202)
  })

  test('files of several megabytes go up by both dialects and come down again', async () => {
    const bytes = bytesOf(8 * MIB + 3, 3)
    const tus = await createByTus(call, bytes.length)
    const patch = await call('PATCH', `/files/${tus}`, { headers: patchAt(0), body: bytes })
    expect([patch.status, patch.headers.get('upload-offset')]).toEqual([204, String(bytes.length)])
    const native = await createNatively(call, bytes.length, 4 * MIB)
    const chunks = [0, 1, 2].map((index) =>
      call('PUT', `/v1/uploads/${native}/chunks/${index}`, {
        body: bytes.subarray(index * 4 * MIB, (index + 1) * 4 * MIB),
      }),
    )
    expect((await Promise.all(chunks)).map(({ status }) => status)).toEqual([202, 202, 202])
    expect((await call('POST', `/v1/uploads/${native}/complete`)).status).toBe(200)
    for (const id of [tus, native]) {
      const received = await download(proxy.url, `/v1/uploads/${id}/download`)
      expect(sha256(received)).toBe(sha256(bytes))
    }
  })

  test('the Location of a new upload is what the client reached the proxy by', async () => {
    const { status, headers } = await call('POST', '/files', { headers: { ...TUS, 'Upload-Length': '5' } })
    expect(status).toBe(201)
    expect(headers.get('location')).toMatch(new RegExp(`^${proxy.url}/files/[0-9a-f-]{36}$`))
  })

  test('a refusal comes through although the body is not read', async () => {
    const bytes = bytesOf(8 * MIB, 4)
    const id = await createByTus(call, bytes.length)
    const patch = slowRequest(proxy.url, 'PATCH', `/files/${id}`, {
      ...patchAt(CELL),
      'Content-Length': String(bytes.length - CELL),
    })
    await patch.send(bytes.subarray(0, 64 * 1024))
    expect((await patch.answer).status).toBe(409)
    patch.cut()
  })

  test('a header as long as Upload-Concat may be comes through', async () => {
    const { status } = await call('GET', '/v1/uploads', { headers: { 'X-Padding': 'x'.repeat(150_000) } })
    expect(status).toBe(200)
  })

  test('an address that the client claims to have is not believed', async () => {
    const statuses: number[] = []
    for (let guess = 0; guess < 2 * WRONG_KEYS + 2; guess++) {
      const { status } = await clientOf(proxy.url, `wrong-${guess}`)('GET', '/v1/uploads', {
        headers: { 'X-Forwarded-For': `192.0.2.${guess + 1}` },
      })
      statuses.push(status)
    }
    // Each of the two servers counts by itself, and one of them gets more than it takes, whoever the last comes to.
    expect(statuses[0]).toBe(401)
    expect(statuses).toContain(429)
  })

  test('the metrics are not for the clients of the proxy', async () => {
    expect((await call('GET', '/metrics')).status).toBe(404)
    expect((await fetch(`${servers[0].url}/metrics`)).status).toBe(200)
  })

  test('an upload goes on by the other server when the one that took it is gone', async () => {
    const bytes = bytesOf(2 * MIB, 5)
    const id = await createByTus(call, bytes.length)
    const first = await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: bytes.subarray(0, MIB) })
    expect(first.status).toBe(204)
    await servers[0].close()
    for (let request = 0; request < 4; request++) expect(await offsetOf(call, id)).toBe(MIB)
    const second = await call('PATCH', `/files/${id}`, { headers: patchAt(MIB), body: bytes.subarray(MIB) })
    expect(second.status).toBe(204)
    expect(sha256(await download(proxy.url, `/files/${id}`))).toBe(sha256(bytes))
  })
}

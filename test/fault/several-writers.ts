import { expect, onTestFinished, test } from 'vitest'
import { Upload, type UploadOptions } from 'tus-js-client'
import { startBalancer } from '../../scripts/cluster/balancer.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { download, patchAt } from '../support/client.ts'
import {
  CHUNK,
  countedBy,
  createTus,
  offsetOf,
  untilHeld,
  useNodes,
  type Node,
  type Site,
} from '../support/nodes.ts'
import { startProxy } from '../support/proxy.ts'
import { ALICE } from '../support/server.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

/** Runs an upload to its end. */
const upload = (url: string, bytes: Buffer, options: Partial<UploadOptions>): Promise<string> =>
  new Promise((resolve, reject) => {
    const job: Upload = new Upload(bytes, {
      endpoint: `${url}/files`,
      headers: { 'X-API-Key': ALICE },
      ...options,
      onError: reject,
      onSuccess: () => resolve(new URL(job.url ?? '').pathname),
    })
    job.start()
  })

/** A PATCH of all of `bytes` whose body the test sends. */
const slowPatch = ({ url }: Node, path: string, bytes: Buffer, offset = 0) =>
  slowRequest(url, 'PATCH', path, {
    ...patchAt(offset),
    'Content-Length': String(bytes.length - offset),
  })

/** Sends the rest of a file by PATCH, again and again while it is locked. @returns the other statuses */
async function patchRest(node: Node, path: string, bytes: Buffer, end = bytes.length): Promise<number[]> {
  const statuses: number[] = []
  while (statuses.length === 0) {
    const offset = await offsetOf(node, path)
    const body = bytes.subarray(offset, end)
    const { status } = await node.call('PATCH', path, { headers: patchAt(offset), body })
    if (status !== 423) statuses.push(status)
  }
  return statuses
}

/** One upload whose writers are on different processes: one dies, stands still, is slow, is silent. */
export function writesFromSeveralProcesses(site: Site): void {
  test.each([
    ['in one PATCH', {}],
    ['in many', { chunkSize: MIB / 2 + 1 }],
  ])(
    'a process is killed under tus-js-client with its own settings, %s: it goes on at the other one, without an error',
    async (_how, options) => {
      const { a, b } = await useNodes(site)
      const balancer = await startBalancer([a.url, b.url])
      const proxy = await startProxy(balancer.url, { bytesPerSecond: 10 * MIB })
      onTestFinished(async () => {
        await proxy.close()
        await balancer.close()
      })
      const bytes = bytesOf(9 * MIB + 7)
      let sent = 0
      const running = upload(proxy.url, bytes, { ...options, onProgress: (done) => (sent = done) })
      await eventually(() => sent > 3 * MIB, 'a third is sent')
      await eventually(async () => (await countedBy([a, b], 'inflight_chunks')) === 1, 'a PATCH is under way')
      const [killed, left] = (await countedBy([a], 'inflight_chunks')) === 1 ? [a, b] : [b, a]
      await killed.signal('SIGKILL')
      const path = await running
      expect(sha256(await download(left.url, path))).toBe(sha256(bytes))
    },
  )

  test('a process that stood still while another took over: what it had yet to write counts nothing and spoils nothing', async () => {
    const { a, b } = await useNodes(site)
    const bytes = bytesOf(4 * CHUNK)
    const path = await createTus(a, bytes.length)
    const stale = slowPatch(a, path, bytes)
    await stale.send(bytes.subarray(0, 1.5 * CHUNK))
    await eventually(async () => (await offsetOf(b, path)) === CHUNK, 'the first chunk is committed')

    a.child.kill('SIGSTOP')
    // Other bytes than the file's: were one of them written, it would show.
    void stale.send(bytesOf(2.5 * CHUNK, 99))
    expect(await patchRest(b, path, bytes, 3 * CHUNK)).toEqual([204])
    a.child.kill('SIGCONT')

    const answer = await stale.answer.catch(() => null)
    // 503 where the database has given up its connection meanwhile.
    expect([423, 503]).toContain(answer?.status ?? 423)
    expect(await offsetOf(a, path)).toBe(3 * CHUNK)
    expect(await patchRest(a, path, bytes)).toEqual([204])
    for (const { url } of [a, b]) expect(sha256(await download(url, path))).toBe(sha256(bytes))
  })

  test('a client that sends a byte every two seconds keeps its upload, whoever asks the other process', async () => {
    const nodes = await useNodes(site)
    const { a, b } = nodes
    const bytes = bytesOf(CHUNK)
    const path = await createTus(a, bytes.length)
    const slow = slowPatch(a, path, bytes)
    await untilHeld(nodes, path, 2)
    const tried: number[] = []
    for (let sent = 0; sent < 5; sent++) {
      await slow.send(bytes.subarray(sent, sent + 1))
      await new Promise((resolve) => setTimeout(resolve, 1_000))
      tried.push((await b.call('PATCH', path, { headers: patchAt(0), body: bytes })).status)
      await new Promise((resolve) => setTimeout(resolve, 1_000))
    }
    expect(tried).toEqual(tried.map(() => 423))
    await slow.send(bytes.subarray(5))
    expect((await slow.answer).status).toBe(204)
    expect(sha256(await download(b.url, path))).toBe(sha256(bytes))
  })

  test('a client that fell silent gives way to one at the other process, and what it brought counts', async () => {
    const nodes = await useNodes(site)
    const { a, b } = nodes
    const bytes = bytesOf(2 * CHUNK)
    const path = await createTus(a, bytes.length)
    const silent = slowPatch(a, path, bytes)
    await silent.send(bytes.subarray(0, CHUNK / 2))
    await untilHeld(nodes, path, 2)
    await upload(b.url, bytes, { uploadUrl: `${b.url}${path}` })
    expect((await silent.answer).status).toBe(423)
    const counted = [a, b].map((node) => countedBy([node], 'bytes_uploaded_total'))
    expect(await Promise.all(counted)).toEqual([CHUNK / 2, 1.5 * CHUNK])
    expect(sha256(await download(a.url, path))).toBe(sha256(bytes))
  })

  test('a silent PATCH on one chunk gives way to a chunk PUT at the other process', async () => {
    const nodes = await useNodes(site)
    const { a, b } = nodes
    const bytes = bytesOf(2 * CHUNK)
    const path = await createTus(a, bytes.length)
    const silent = slowPatch(a, path, bytes)
    await silent.send(bytes.subarray(0, CHUNK / 2))
    await untilHeld(nodes, path, 2)
    const put = await b.call('PUT', `${path.replace('/files/', '/v1/uploads/')}/chunks/0`, {
      body: bytes.subarray(0, CHUNK),
    })
    expect(put.status).toBe(202)
    expect((await silent.answer).status).toBe(423)
    expect(await patchRest(a, path, bytes)).toEqual([204])
    expect(sha256(await download(b.url, path))).toBe(sha256(bytes))
  })
}

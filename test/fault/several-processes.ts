import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { expect, test } from 'vitest'
import { openPeer } from '../contract/ledger-peer.ts'
import { bytesOf, sha256 } from '../support/bytes.ts'
import { download, patchAt, TUS } from '../support/client.ts'
import { filesIn } from '../support/folder.ts'
import { CHUNK, countedBy, createTus, untilHeld, useNodes, type Node, type Site } from '../support/nodes.ts'
import { needsProc, openFilesOf } from '../support/proc.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const storedFiles = (root: string) => filesIn(path.join(root, 'files'))

async function init({ call }: Node, bytes: Buffer, checksum: string | null = null): Promise<string> {
  const { json } = await call('POST', '/v1/uploads/init', {
    body: {
      file_name: 'a',
      file_size: bytes.length,
      chunk_size: CHUNK,
      file_checksum_sha256: checksum,
    },
  })
  return `/v1/uploads/${json.upload_id}`
}

const chunkOf = (bytes: Buffer, index: number) => bytes.subarray(index * CHUNK, (index + 1) * CHUNK)

/** What is done to one upload by way of two processes at once. */
export function sharesUploads(site: Site): void {
  test('chunks of one upload come to both processes at once, some of them twice, and it completes once', async () => {
    const { a, b } = await useNodes(site)
    const bytes = bytesOf(16 * CHUNK + 3)
    const upload = await init(a, bytes, sha256(bytes))
    const put = async (node: Node, index: number) =>
      (await node.call('PUT', `${upload}/chunks/${index}`, { body: chunkOf(bytes, index) })).status
    const statuses: number[] = []
    for (let first = 0; first < 17; first += 4)
      statuses.push(
        ...(await Promise.all(
          [0, 1, 2, 3]
            .map((i) => first + i)
            .filter((index) => index < 17)
            .flatMap((index) => (index % 2 ? [put(a, index)] : [put(a, index), put(b, index)])),
        )),
      )
    expect(statuses).toEqual(statuses.map(() => 202))

    const completions = [a, b, a, b, a, b].map(({ call }) => call('POST', `${upload}/complete`))
    expect((await Promise.all(completions)).map(({ status }) => status)).toEqual(Array(6).fill(200))
    expect(await countedBy([a, b], 'uploads_completed_total')).toBe(1)
    expect(await countedBy([a, b], 'bytes_uploaded_total')).toBe(bytes.length)
    expect(sha256(await download(b.url, `${upload}/download`))).toBe(sha256(bytes))
  })

  test('an upload is deleted at one process while the other writes it, and nothing is left', async () => {
    const { root, a, b } = await useNodes(site)
    const bytes = bytesOf(3 * CHUNK)
    const upload = await createTus(a, bytes.length)
    const writing = slowRequest(a.url, 'PATCH', upload, {
      ...patchAt(0),
      'Content-Length': String(bytes.length),
    })
    let writes = true
    const send = async () => {
      for (let at = 0; writes && at < bytes.length; at += 1000) {
        await writing.send(bytes.subarray(at, at + 1000))
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
    const sending = send()
    await eventually(async () => (await storedFiles(root)).length > 0, 'the first bytes are written')
    expect((await b.call('DELETE', upload, { headers: TUS })).status).toBe(204)
    expect((await writing.answer.catch(() => ({ status: 404 }))).status).toBe(404)
    writes = false
    await sending
    for (const { call } of [a, b]) expect((await call('HEAD', upload, { headers: TUS })).status).toBe(404)
    expect(await storedFiles(root)).toHaveLength(0)
  })

  test('what one process has just read is gone for it once the other has deleted it, and its room is free soon', async (context) => {
    needsProc(context)
    const { a, b } = await useNodes(site)
    const bytes = bytesOf(CHUNK)
    const upload = await createTus(a, bytes.length)
    expect((await a.call('PATCH', upload, { headers: patchAt(0), body: bytes })).status).toBe(204)
    const read = () => a.call('GET', upload, { headers: { Range: 'bytes=0-9' } })
    expect((await read()).status).toBe(206)
    expect((await b.call('DELETE', upload, { headers: TUS })).status).toBe(204)
    expect((await read()).status).toBe(404)
    const holds = async () =>
      (await openFilesOf(a.child.pid)).some((file) => file.includes(path.basename(upload)))
    await eventually(async () => !(await holds()), 'the file is closed')
  })

  test('a length is declared at the other process', async () => {
    const { a, b } = await useNodes(site)
    const bytes = bytesOf(2 * CHUNK + 5)
    const upload = await createTus(a, null)
    const patch = async ({ call }: Node, from: number, to: number, more = {}) =>
      (
        await call('PATCH', upload, {
          headers: { ...patchAt(from), ...more },
          body: bytes.subarray(from, to),
        })
      ).status
    expect(await patch(a, 0, 100)).toBe(204)
    expect(await patch(b, 100, CHUNK + 1, { 'Upload-Length': String(bytes.length) })).toBe(204)
    expect(await patch(a, CHUNK + 1, CHUNK + 2, { 'Upload-Length': String(bytes.length + 1) })).toBe(400)
    expect(await patch(a, CHUNK + 1, bytes.length)).toBe(204)
    expect(sha256(await download(b.url, upload))).toBe(sha256(bytes))
    expect(await countedBy([a, b], 'uploads_completed_total')).toBe(1)
  })

  test('a checksummed PATCH that crosses chunks holds them all against the other process until its verdict', async () => {
    const nodes = await useNodes(site)
    const { a, b } = nodes
    const bytes = bytesOf(3 * CHUNK)
    const upload = await createTus(a, bytes.length)
    const digest = Buffer.from(sha256(bytes), 'hex').toString('base64')
    const checked = slowRequest(a.url, 'PATCH', upload, {
      ...patchAt(0),
      'Upload-Checksum': `sha256 ${digest}`,
      'Content-Length': String(bytes.length),
    })
    await checked.send(bytes.subarray(0, 2.5 * CHUNK))
    // The append, and every chunk that it has come to.
    await untilHeld(nodes, upload, 4)
    let isPut = false
    const put = b
      .call('PUT', `${upload.replace('/files/', '/v1/uploads/')}/chunks/0`, { body: chunkOf(bytes, 0) })
      .finally(() => (isPut = true))
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(isPut).toBe(false)
    await checked.send(bytes.subarray(2.5 * CHUNK))
    expect((await checked.answer).status).toBe(204)
    // It had come before the last byte of the upload, but its turn was after it.
    expect((await put).status).toBe(409)
    expect(sha256(await download(b.url, upload))).toBe(sha256(bytes))
  })

  test('what a process was completing when it died is completed by another, once its lease has expired', async () => {
    const { a, b, databaseUrl } = await useNodes(site)
    const bytes = bytesOf(2 * CHUNK)
    const upload = await init(a, bytes, sha256(bytes))
    for (const index of [0, 1])
      await a.call('PUT', `${upload}/chunks/${index}`, { body: chunkOf(bytes, index) })

    const id = path.basename(upload)
    const dead = await openPeer(databaseUrl, 'dead')
    await dead.leases.take({ id, place: 'finish', token: randomUUID() }, 2_000)
    await dead.ledger.transition(id, 'FINALIZING', new Date())
    await dead.ledger.close()
    const completions = [a, b].map(({ call }) => call('POST', `${upload}/complete`))
    expect((await Promise.all(completions)).map(({ status }) => status)).toEqual([200, 200])
    expect(await countedBy([a, b], 'uploads_completed_total')).toBe(1)
  })

  test('uploads that expired are reaped once, by processes that start together', async () => {
    const { root, databaseUrl, a, b, start } = await useNodes(site)
    const uploads = await Promise.all(Array.from({ length: 60 }, () => createTus(a, 100)))
    for (const upload of uploads)
      expect((await a.call('PATCH', upload, { headers: patchAt(0), body: Buffer.from('some') })).status).toBe(
        204,
      )
    await Promise.all([a.signal('SIGKILL'), b.signal('SIGKILL')])
    expect(await storedFiles(root)).toHaveLength(60)
    const { ledger } = await openPeer(databaseUrl, 'clock')
    await ledger.setExpiry(
      uploads.map((upload) => path.basename(upload)),
      new Date(),
    )
    await ledger.close()

    const next = await Promise.all([start(), start(), start()])
    await eventually(async () => (await storedFiles(root)).length === 0, 'their bytes are gone')
    expect(await countedBy(next, 'uploads_expired_total')).toBe(60)
    for (const [i, upload] of uploads.entries()) {
      const { call } = next[i % 3] as Node
      expect((await call('HEAD', upload, { headers: TUS })).status).toBe(410)
    }
  })
}

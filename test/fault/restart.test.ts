import { expect, onTestFinished, test } from 'vitest'
import { bytesOf, MIB } from '../support/bytes.ts'
import { clientOf, patchAt, TUS } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { spawnServer, type ServerProcess } from '../support/process.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

async function start(root: string, env: Record<string, string> = {}): Promise<ServerProcess> {
  const server = await spawnServer(root, { SHUTDOWN_GRACE_SECONDS: '0', ...env })
  onTestFinished(async () => void (await server.signal('SIGKILL')))
  return server
}

const REFUSAL = /exited with 1:[^]*Another process[^]*LEASES=on/

test('a second process on an SQLite file is refused, with words that say what to do; one with LEASES=on as well', async () => {
  const root = await useFolder()
  const first = await start(root)
  const refused = [start(root), start(root, { LEASES: 'on' })]
  await Promise.all(refused.map((each) => expect(each).rejects.toThrow(REFUSAL)))
  expect((await clientOf(first.url)('GET', '/ready')).status).toBe(200)

  await first.signal('SIGKILL')
  const [second, third] = [await start(root, { LEASES: 'on' }), await start(root, { LEASES: 'on' })]
  await expect(start(root)).rejects.toThrow(REFUSAL)
  for (const { url } of [second, third]) expect((await clientOf(url)('GET', '/ready')).status).toBe(200)
})

test('a process that starts while the one before shuts down waits for it, and loses nothing of what that was given', async () => {
  const root = await useFolder()
  const grace = { SHUTDOWN_GRACE_SECONDS: '1', CHUNK_SIZE_BYTES: String(MIB) }
  const before = await start(root, grace)
  const created = await clientOf(before.url)('POST', '/files', {
    headers: { ...TUS, 'Upload-Length': String(MIB) },
  })
  const upload = new URL(created.headers.get('location') ?? '').pathname
  const patch = slowRequest(before.url, 'PATCH', upload, {
    ...patchAt(0),
    'Content-Length': String(MIB),
  })
  await patch.send(bytesOf(MIB / 2))
  await eventually(
    async () => /^inflight_chunks 1$/m.test((await clientOf(before.url)('GET', '/metrics')).text),
    'the PATCH is under way',
  )
  const ended = before.signal('SIGTERM')
  const next = await start(root, grace)
  expect(await ended).toBe(0)
  const head = await clientOf(next.url)('HEAD', upload, { headers: TUS })
  expect(head.headers.get('upload-offset')).toBe(String(MIB / 2))
})

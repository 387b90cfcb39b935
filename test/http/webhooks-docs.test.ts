import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { clientOf } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { OLD_SECRET, SECRET, useReceiver, webhookEnv } from '../support/receiver.ts'
import { useServer } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'
import { createByTus } from '../support/uploading.ts'

const DOCS = readFileSync(path.join(import.meta.dirname, '../../docs/webhooks.md'), 'utf8')
const [, PROGRAM = ''] = /^```js\n(.*?)^```$/ms.exec(DOCS) ?? []

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** The receiver of the documentation, as a process. @returns its URL, and what it has printed */
async function startDocumented(secret: string): Promise<{ url: string; printed: string[] }> {
  const file = path.join(await useFolder(), 'receiver.mjs')
  await writeFile(file, PROGRAM)
  const port = await freePort()
  const env = { WEBHOOK_SECRET: secret, PORT: String(port) }
  const child = spawn(process.execPath, [file], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const printed: string[] = []
  child.stdout.on('data', (text: Buffer) => printed.push(...text.toString().trim().split('\n')))
  const url = `http://127.0.0.1:${port}/`
  await eventually(
    () =>
      fetch(url, { method: 'POST' }).then(
        () => true,
        () => false,
      ),
    'it listens',
  )
  return { url, printed }
}

test('the receiver of the documentation believes the server, and nobody else', async () => {
  const { url: hook, printed } = await startDocumented(SECRET)
  const { url } = await useServer(webhookEnv({ url: hook }))
  const id = await createByTus(clientOf(url), 5)
  await eventually(() => printed.length > 0, 'it is told')
  expect(printed).toEqual([`upload.created ${id}`])
  const forged = { 'webhook-id': 'a', 'webhook-timestamp': String(Date.now() / 1000) }
  for (const signature of ['', 'v1,', `v1,${'A'.repeat(43)}=`]) {
    const headers = { ...forged, 'webhook-signature': signature }
    expect((await fetch(hook, { method: 'POST', body: '{}', headers })).status).toBe(401)
  }
})

test('the receiver of the documentation knows an old secret as long as both are used', async () => {
  const { url: hook, printed } = await startDocumented(OLD_SECRET)
  const { url } = await useServer({ ...webhookEnv({ url: hook }), WEBHOOK_SECRET: `${OLD_SECRET},${SECRET}` })
  const id = await createByTus(clientOf(url), 5)
  await eventually(() => printed.length > 0, 'it is told')
  expect(printed).toEqual([`upload.created ${id}`])
})

test('the event of the documentation has exactly the fields of an event', async () => {
  const [, example = '{}'] = /^```json\n(\{\n.*?)^```$/ms.exec(DOCS) ?? []
  const receiver = await useReceiver()
  const { url } = await useServer(webhookEnv(receiver))
  await createByTus(clientOf(url), 5)
  await receiver.until(1)
  const { event } = receiver.received[0] ?? {}
  const told = JSON.parse(example) as NonNullable<typeof event>
  expect(Object.keys(told)).toEqual(Object.keys(event ?? {}))
  expect(Object.keys(told.data)).toEqual(Object.keys(event?.data ?? {}))
})

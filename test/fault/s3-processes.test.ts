import { expect, onTestFinished, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { clientOf, download, patchAt } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { spawnServer } from '../support/process.ts'
import { s3Env } from '../support/s3-env.ts'
import { createByTus, statusOf } from '../support/s3-uploads.ts'
import { startFaultProxy } from '../support/s3/fault-proxy.ts'
import { startS3 } from '../support/s3/server.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const CHUNK = 5 * MIB

/** Two processes on one database and one bucket, each with its own way to S3. */
async function useTwo() {
  const root = await useFolder()
  const s3 = await startS3()
  onTestFinished(() => s3.close())
  const start = async () => {
    const proxy = await startFaultProxy(s3.url)
    onTestFinished(() => proxy.close())
    const env = { ...s3Env({ ...s3, url: proxy.url }), LEASES: 'on', LOG_LEVEL: 'error' }
    const server = await spawnServer(root, env)
    onTestFinished(() => void server.child.kill('SIGKILL'))
    return { ...server, proxy, call: clientOf(server.url) }
  }
  const [a, b] = await Promise.all([start(), start()])
  return { s3, a, b }
}

/** Its PATCH has got as far as the way to S3 when the process stands still. */
async function stopInMidWrite({ a }: Awaited<ReturnType<typeof useTwo>>, path: string, bytes: Buffer) {
  a.proxy.rule({ operation: ['PutObject', 'UploadPart'], hold: 'request' })
  const headers = { ...patchAt(0), 'Content-Length': String(bytes.length) }
  const patch = slowRequest(a.url, 'PATCH', path, headers)
  void patch.send(bytes).catch(() => {})
  await eventually(() => a.proxy.held() > 0, 'a write is on its way to S3')
  a.child.kill('SIGSTOP')
  return patch
}

const PATIENT = 60_000

test(
  'what a process put while it stood still replaces no file that another one finished',
  async () => {
    const two = await useTwo()
    const { s3, a, b } = two
    const path = await createByTus(b.call, 5)
    const late = await stopInMidWrite(two, path, Buffer.from('late!'))
    const finish = async () =>
      (await b.call('PATCH', path, { headers: patchAt(0), body: 'first' })).status === 204
    await eventually(finish, 'another process takes over', PATIENT)
    a.proxy.clear()
    a.child.kill('SIGCONT')
    expect((await late.answer).status).toBeGreaterThanOrEqual(400)
    expect(String(await download(b.url, path))).toBe('first')
    expect(await statusOf(a.call, path)).toBe('COMPLETED')
    expect(s3.objects().length).toBe(1)
  },
  2 * PATIENT,
)

test(
  'a part that comes when another process has completed the file harms nothing',
  async () => {
    const two = await useTwo()
    const { s3, a, b } = two
    const bytes = bytesOf(2 * CHUNK + 10)
    const path = await createByTus(b.call, bytes.length)
    const late = await stopInMidWrite(two, path, bytes)
    const finish = async () =>
      (await b.call('PATCH', path, { headers: patchAt(0), body: bytes })).status === 204
    await eventually(finish, 'another process takes over', PATIENT)
    a.proxy.clear()
    a.child.kill('SIGCONT')
    expect((await late.answer).status).toBeGreaterThanOrEqual(400)
    expect(sha256(await download(b.url, path))).toBe(sha256(bytes))
    expect(await statusOf(a.call, path)).toBe('COMPLETED')
    expect([s3.objects().length, s3.uploads()]).toEqual([1, []])
  },
  2 * PATIENT,
)

test('chunks that come first to both processes at once are parts of one multipart upload', async () => {
  const { s3, a, b } = await useTwo()
  const bytes = bytesOf(4 * CHUNK)
  const path = (await createByTus(a.call, bytes.length)).replace('/files/', '/v1/uploads/')
  // Both have created one before either asks the database which of them counts.
  for (const { proxy } of [a, b]) proxy.rule({ operation: 'CreateMultipartUpload', hold: 'answer', times: 1 })
  const puts = [a, b, a, b].map(({ call }, index) =>
    call('PUT', `${path}/chunks/${index}`, { body: bytes.subarray(index * CHUNK, (index + 1) * CHUNK) }),
  )
  await eventually(() => a.proxy.held() + b.proxy.held() === 2, 'both have created one')
  expect(s3.uploads()).toHaveLength(2)
  for (const { proxy } of [a, b]) proxy.release()
  expect((await Promise.all(puts)).map(({ status }) => status)).toEqual([202, 202, 202, 202])
  expect(sha256(await download(a.url, `${path}/download`))).toBe(sha256(bytes))
  expect([s3.objects().length, s3.uploads()]).toEqual([1, []])
})

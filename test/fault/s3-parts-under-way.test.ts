import { expect, onTestFinished, test } from 'vitest'
import { builtServer } from '../support/built-process.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { download, patchAt } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { startFaultProxy } from '../support/s3/fault-proxy.ts'
import { startS3 } from '../support/s3/server.ts'
import { s3Env } from '../support/s3-env.ts'
import { createByTus, offsetOf } from '../support/s3-uploads.ts'
import { eventually, slowRequest } from '../support/slow-request.ts'

const CHUNK = 5 * MIB
const SENT = 3 * CHUNK + 1000
const BYTES = bytesOf(5 * CHUNK + 7)

const startBuilt = builtServer()

/** A process in the middle of a PATCH: later parts of it are stored, what S3 says of the first is held back. */
async function useHalfDone(env: Record<string, string> = {}) {
  const root = await useFolder()
  const s3 = await startS3()
  onTestFinished(() => s3.close())
  const proxy = await startFaultProxy(s3.url)
  onTestFinished(() => proxy.close())
  const start = () => startBuilt(root, { ...s3Env({ ...s3, url: proxy.url }), ...env })
  const { server, call } = await start()
  const path = await createByTus(call, BYTES.length)
  proxy.rule({ operation: 'UploadPart', url: /[?&]partNumber=1(&|$)/, hold: 'answer' })
  const headers = { ...patchAt(0), 'Content-Length': String(BYTES.length) }
  const patch = slowRequest(server.url, 'PATCH', path, headers)
  await patch.send(BYTES.subarray(0, SENT))
  await eventually(() => s3.uploads()[0]?.parts.length === 3 && proxy.held() === 1, 'three parts are there')
  expect(await offsetOf(call, path)).toBe(0)
  /** Sends the rest to the next process. */
  const goOn = async (from: number) => {
    const next = await start()
    expect(await offsetOf(next.call, path)).toBe(from)
    const rest = await next.call('PATCH', path, { headers: patchAt(from), body: BYTES.subarray(from) })
    expect(rest.status).toBe(204)
    expect(sha256(await download(next.server.url, path))).toBe(sha256(BYTES))
    await eventually(() => s3.objects().length === 1, 'nothing lies beside the file')
    expect(s3.uploads()).toEqual([])
  }
  return { proxy, server, patch, goOn }
}

test('kill -9 while the first of several parts has no answer yet leaves none of them counted', async () => {
  const { proxy, server, patch, goOn } = await useHalfDone()
  expect(await server.signal('SIGKILL')).toBe('SIGKILL')
  patch.cut()
  proxy.clear()
  await goOn(0)
})

test('SIGTERM while several parts are on their way has all that came counted, to the last byte', async () => {
  const { proxy, server, patch, goOn } = await useHalfDone({ SHUTDOWN_GRACE_SECONDS: '4' })
  const ended = server.signal('SIGTERM')
  // The shutdown ends the body, whose rest is put as a piece behind the parts.
  await eventually(() => proxy.count('PutObject') === 1, 'what came of the last chunk is put')
  proxy.clear()
  expect((await patch.answer).status).toBe(503)
  expect(await ended).toBe(0)
  await goOn(SENT)
})

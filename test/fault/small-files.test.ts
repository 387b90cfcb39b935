import { expect, test } from 'vitest'
import { builtServer } from '../support/built-process.ts'
import { bytesOf } from '../support/bytes.ts'
import { download, TUS, type Client } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { eventually } from '../support/slow-request.ts'

const AT_ONCE = 16
const ROUNDS = 3
const BYTES = bytesOf(10 * 1024)

const startBuilt = builtServer()

/** Sends small files, `AT_ONCE` at a time, until the server is gone. What was acknowledged goes into `paths`. */
const sendFiles = (call: Client, paths: string[]): Promise<unknown> =>
  Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      const headers = {
        ...TUS,
        'Upload-Length': String(BYTES.length),
        'Content-Type': 'application/offset+octet-stream',
      }
      try {
        for (;;) {
          const { status, headers: told } = await call('POST', '/files', { headers, body: BYTES })
          if (status !== 201) throw new Error(`answered ${status}`)
          expect(told.get('upload-offset')).toBe(String(BYTES.length))
          paths.push(new URL(told.get('location') ?? '').pathname)
        }
      } catch (error) {
        // The server was killed.
        if (!(error instanceof TypeError)) throw error
      }
    }),
  )

test('kill -9 among crowds of small files: every one that was acknowledged is whole', async () => {
  const root = await useFolder()
  const paths: string[] = []
  for (let round = 1; round <= ROUNDS; round++) {
    const { server, call } = await startBuilt(root)
    const sending = sendFiles(call, paths)
    await eventually(async () => paths.length >= 300 * round, 'files are acknowledged')
    await server.signal('SIGKILL')
    await sending
  }
  const { server } = await startBuilt(root)
  for (const path of paths) expect((await download(server.url, path)).equals(BYTES)).toBe(true)
})

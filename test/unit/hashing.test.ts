import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { expect, test, vi } from 'vitest'
import { createHashing } from '../../src/hashing/hashing.ts'
import { bytesOf, MIB } from '../support/bytes.ts'
import { useFolder } from '../support/folder.ts'

const file = pathToFileURL(path.join(import.meta.dirname, '../support/hashing-thread.mjs'))
const BYTES = bytesOf(2 * MIB)
const HASHED = createHash('sha256').update(BYTES).digest('hex')
const LARGE = 8 * MIB

const shared = (bytes: Uint8Array): Uint8Array => {
  const memory = new Uint8Array(new SharedArrayBuffer(bytes.length))
  memory.set(bytes)
  return memory
}
const hex = (digest: Uint8Array) => Buffer.from(digest).toString('hex')

/** One whose thread is there. */
async function withThread(idleMs?: number) {
  const openHash = createHashing({ cores: 2, file, ...(idleMs !== undefined && { idleMs }) })
  await vi.waitFor(
    () => {
      const hash = openHash('sha256', LARGE)
      const updated = hash.update(new Uint8Array())
      hash.drop()
      // What the event loop hashes is done with its bytes at once.
      expect(updated).toBeInstanceOf(Promise)
    },
    { timeout: 15_000, interval: 10 },
  )
  return openHash
}

test('bytes of shared memory, of a part of a buffer, and of none have their digest', async () => {
  const openHash = await withThread()
  const hash = openHash('sha256', LARGE)
  await hash.update(shared(BYTES.subarray(0, MIB)))
  await hash.update(BYTES.subarray(MIB, MIB + 5))
  await hash.update(new Uint8Array())
  await hash.update(shared(BYTES).subarray(MIB + 5))
  expect(hex(await hash.digest())).toBe(HASHED)
  expect(hex(await openHash('md5', LARGE).digest())).toBe(createHash('md5').digest('hex'))
})

test('a buffer that was not shared is still of use', async () => {
  const openHash = await withThread()
  const mine = Buffer.from('abc')
  await openHash('sha1', LARGE).update(mine)
  expect(String(mine)).toBe('abc')
})

test('hashes side by side do not mix, and those that are dropped harm none', async () => {
  const openHash = await withThread()
  const digests = await Promise.all(
    ['sha1', 'sha256', 'sha512', 'md5', 'sha256'].map(async (algorithm, index) => {
      const dropped = openHash(algorithm, LARGE)
      void dropped.update(shared(BYTES))
      dropped.drop()
      const hash = openHash(algorithm, LARGE)
      for (let at = 0; at < BYTES.length; at += MIB / 4)
        await hash.update(shared(BYTES.subarray(at, at + MIB / 4)))
      await hash.update(Buffer.from([index]))
      const digest = hex(await hash.digest())
      hash.drop()
      return (
        digest ===
        createHash(algorithm)
          .update(BYTES)
          .update(Buffer.from([index]))
          .digest('hex')
      )
    }),
  )
  expect(digests).toEqual([true, true, true, true, true])
})

test('a small body, one of unknown length, and a machine of one core have no thread', async () => {
  const openHash = await withThread()
  const inline = [
    openHash('sha256', 1000),
    openHash('sha256', null),
    createHashing({ cores: 1, file })('sha256', LARGE),
  ]
  for (const hash of inline) {
    expect(hash.update(BYTES)).toBeUndefined()
    expect(hex(await hash.digest())).toBe(HASHED)
  }
})

test('a thread that ends fails what it was hashing, and the next bodies have another', async () => {
  const folder = await useFolder()
  const dying = pathToFileURL(path.join(folder, 'dying.mjs'))
  await writeFile(
    dying,
    `import { parentPort } from 'node:worker_threads'
     parentPort.on('message', ({ ends }) => ends ? process.exit(1) : parentPort.postMessage(null))
     parentPort.postMessage(null)`,
  )
  const openHash = createHashing({ cores: 2, file: dying })
  const openThere = () =>
    vi.waitFor(
      () => {
        const hash = openHash('sha256', LARGE)
        expect(hash.update(new Uint8Array())).toBeInstanceOf(Promise)
        return hash
      },
      { timeout: 15_000 },
    )
  const one = await openThere()
  const other = await openThere()
  await expect(one.digest()).rejects.toThrow('has ended')
  await expect(other.digest()).rejects.toThrow('has ended')
  await other.update(BYTES)
  await expect((await openThere()).digest()).rejects.toThrow('has ended')
})

test('a hash whose client is silent for longer than a thread is idle keeps it, and one that comes while it ends has its digest', async () => {
  const openHash = await withThread(60)
  const silent = openHash('sha256', LARGE)
  await silent.update(BYTES.subarray(0, MIB))
  await sleep(300)
  await silent.update(BYTES.subarray(MIB))
  expect(hex(await silent.digest())).toBe(HASHED)
  for (let afterMs = 55; afterMs < 68; afterMs++) {
    await sleep(afterMs)
    const hash = openHash('sha256', LARGE)
    await hash.update(BYTES)
    expect(hex(await hash.digest())).toBe(HASHED)
  }
})

test.each([
  ['loaded', pathToFileURL('/no/such/file.mjs')],
  ['started', new URL('http://no-such-host/')],
])('a thread that can not be %s leaves the hashing to the event loop', async (_what, broken) => {
  const openHash = createHashing({ cores: 2, file: broken })
  for (let tries = 0; tries < 3; tries++) {
    const hash = openHash('sha256', LARGE)
    expect(hash.update(BYTES)).toBeUndefined()
    expect(hex(await hash.digest())).toBe(HASHED)
    await sleep(100)
  }
})

import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import { createOpenFiles } from '../../src/stores/open-files.ts'

const LONG_MS = 60_000

beforeEach(({ skip }) => {
  if (!existsSync('/proc/self/fd')) skip('there is no /proc to count open files in')
})

async function useFile(name = 'file') {
  const folder = await mkdtemp(path.join(tmpdir(), 'open-files-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = path.join(folder, name)
  await writeFile(file, 'bytes')
  return file
}

/** How often this process has it open; one that was removed has `(deleted)` behind its name. */
const opened = (file: string) =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(file)
    } catch {
      return false // the handle that read the folder
    }
  }).length

test('readers of one file share a handle, also one behind the other', async () => {
  const file = await useFile()
  const files = createOpenFiles(LONG_MS)
  const [first, second] = await Promise.all([files.share(file), files.share(file)])
  await Promise.all([first.release(), second.release()])
  const third = await files.share(file)
  expect([second.fd, third.fd]).toEqual([first.fd, first.fd])
  expect(opened(file)).toBe(1)
  await third.release()
  files.forget(file)
})

test('a file that nobody reads is closed after a while, and one that is read once it is not any more', async () => {
  const [idle, busy] = [await useFile(), await useFile()]
  const files = createOpenFiles(20)
  await (await files.share(idle)).release()
  const reading = await files.share(busy)
  await vi.waitFor(() => expect(opened(idle)).toBe(0))
  expect(opened(busy)).toBe(1)
  await reading.release()
  await vi.waitFor(() => expect(opened(busy)).toBe(0))
})

test('a file that is opened a little later than another is not kept longer for it', async () => {
  const [first, second] = [await useFile(), await useFile()]
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const files = createOpenFiles(1000)
  await (await files.share(first)).release()
  vi.advanceTimersByTime(50)
  await (await files.share(second)).release()
  vi.advanceTimersByTime(1001)
  vi.useRealTimers()
  await vi.waitFor(() => expect([opened(first), opened(second)]).toEqual([0, 0]))
})

test('a file that is read again and again is opened anew after a while, so that a removed one gives up its room', async () => {
  const file = await useFile()
  const files = createOpenFiles(20)
  await (await files.share(file)).release()
  await rm(file)
  await vi.waitFor(async () => {
    const again = files.share(file).then(({ release }) => release())
    await expect(again).rejects.toThrow('ENOENT')
  })
  await vi.waitFor(() => expect(opened(file)).toBe(0))
})

test('a forgotten file is closed at once, or when its last reader is done, and is opened anew', async () => {
  const file = await useFile()
  const files = createOpenFiles(LONG_MS)
  await (await files.share(file)).release()
  files.forget(file)
  await vi.waitFor(() => expect(opened(file)).toBe(0))

  const old = await files.share(file)
  files.forget(file)
  await rm(file)
  await expect(files.share(file)).rejects.toThrow('ENOENT')
  expect(opened(file)).toBe(1)
  await old.release()
  await vi.waitFor(() => expect(opened(file)).toBe(0))
})

test('no more files are kept than may be: the one that was opened first goes', async () => {
  const paths = [await useFile(), await useFile(), await useFile()]
  const files = createOpenFiles(LONG_MS, 2)
  for (const file of paths) await (await files.share(file)).release()
  await vi.waitFor(() => expect(paths.map(opened)).toEqual([0, 1, 1]))
  for (const file of paths) files.forget(file)
})

test('a file that can’t be opened now can be later', async () => {
  const file = await useFile()
  const files = createOpenFiles(LONG_MS)
  await rm(file)
  await expect(Promise.all([files.share(file), files.share(file)])).rejects.toThrow('ENOENT')
  await writeFile(file, 'bytes')
  await (await files.share(file)).release()
  files.forget(file)
})

test('a link leads nowhere', async () => {
  const file = await useFile()
  await symlink(file, `${file}-link`)
  await expect(createOpenFiles().share(`${file}-link`)).rejects.toThrow('ELOOP')
})

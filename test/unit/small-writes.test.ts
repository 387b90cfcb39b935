import { readdir, readFile, rename, symlink } from 'node:fs/promises'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { openRoot } from '../../src/stores/root.ts'
import { createSmallWrites, type WriteSmall } from '../../src/stores/small-writes.ts'
import { buildServer, type BuiltServer } from '../support/built-server.ts'
import { bytesOf } from '../support/bytes.ts'
import { useFolder } from '../support/folder.ts'

const FILES = 16
/** A thread takes a moment to start. */
const CROWDS = 500

let built: BuiltServer
let builtWrites: typeof createSmallWrites
beforeAll(async () => {
  built = await buildServer()
  const module = path.join(path.dirname(built.main), 'stores', 'small-writes.js')
  ;({ createSmallWrites: builtWrites } = await import(pathToFileURL(module).href))
})
afterAll(() => built.remove())

async function useRoot() {
  const folder = path.join(await useFolder(), 'files')
  const root = openRoot(folder)
  await root.assertPresent()
  return { folder, root }
}

const contentOf = (file: string) => bytesOf(100 + file.length)
const refused = () => vi.fn<() => Promise<number>>(() => Promise.reject(new Error('in the ordinary way')))

/** Many small files at once. @returns how many of them were left to the ordinary way */
async function crowd(write: WriteSmall, files: readonly string[]): Promise<number> {
  const otherwise = refused()
  await Promise.allSettled(files.map((file) => write(file, [contentOf(file)], 0, otherwise)))
  return otherwise.mock.calls.length
}

const filesIn = (folder: string): string[] =>
  Array.from({ length: FILES }, (_, i) => path.join(folder, String(i % 3), `file ${i}`))

/** Until a whole crowd is written by the thread. */
async function useThread(folder: string, write: WriteSmall): Promise<void> {
  for (let i = 0; i < CROWDS; i++) {
    if ((await crowd(write, filesIn(folder))) === 0) return
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
  throw new Error('the thread did not write them')
}

test('the files of a crowd are written by the thread once that runs, in folders that it makes', async () => {
  const { folder, root } = await useRoot()
  await useThread(folder, builtWrites(root))
  for (const file of filesIn(folder)) expect(await readFile(file)).toEqual(contentOf(file))
})

test('what comes in pieces is written one behind the other, at its position', async () => {
  const { folder, root } = await useRoot()
  const write = builtWrites(root)
  await useThread(folder, write)
  const [file, otherwise] = [path.join(folder, '0', 'pieces'), refused()]
  const pieces = [bytesOf(5), bytesOf(1), bytesOf(7)]
  expect(await write(file, pieces, 3, otherwise)).toBe(13)
  expect(await readFile(file)).toEqual(Buffer.concat([Buffer.alloc(3), ...pieces]))
})

test('one at a time is written in the ordinary way, and so is everything where there is no thread', async () => {
  const { folder, root } = await useRoot()
  const otherwise = vi.fn<() => Promise<number>>(async () => 7)
  const write = builtWrites(root)
  for (let i = 0; i < 50; i++) expect(await write(path.join(folder, 'a'), [bytesOf(7)], 0, otherwise)).toBe(7)
  expect(otherwise).toHaveBeenCalledTimes(50)

  const unloaded = createSmallWrites(root)
  const unstarted = createSmallWrites(root, new URL('http://no-such-host/'))
  for (const broken of [unloaded, unstarted])
    for (let i = 0; i < 20; i++) expect(await crowd(broken, filesIn(folder))).toBe(FILES)
})

test('in another folder than the one that was there at the start the thread makes nothing', async () => {
  const { folder, root } = await useRoot()
  const write = builtWrites(root)
  await useThread(folder, write)
  await rename(folder, `${folder}, unmounted`)
  openRoot(folder)
  expect(await crowd(write, filesIn(folder))).toBe(FILES)
  expect(await readdir(folder)).toEqual(['.storage-root'])
})

test('a file that the thread can not write is left to the ordinary way, whose failure it gets; the others are written', async () => {
  const { folder, root } = await useRoot()
  const write = builtWrites(root)
  await useThread(folder, write)
  const trap = path.join(folder, '0', 'trap')
  await symlink(path.join(folder, '..', 'elsewhere'), trap)
  expect(await crowd(write, [...filesIn(folder), trap])).toBe(1)
  await expect(write(trap, [bytesOf(1)], 0, refused())).rejects.toThrow('in the ordinary way')
  expect(await readdir(path.join(folder, '..'))).toEqual(['files'])
})

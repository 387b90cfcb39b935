import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import {
  chmod,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Upload } from '../../src/core/upload.ts'
import { createLocalStore } from '../../src/stores/local.ts'
import { bodyOf, turnOf } from '../support/body.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { filesIn, useFolder } from '../support/folder.ts'
import { mount, useSmallDisk } from '../support/small-disk.ts'
import { CELL, readAll, storeContract, takenWhole, uploadOf, writeOf } from './store.ts'

for (const durability of ['process', 'disk'] as const)
  storeContract(`the local disk, durability ${durability}`, async () => {
    const root = await mkdtemp(path.join(tmpdir(), 'store-'))
    const lose = () => rm(root, { recursive: true, force: true })
    return { store: createLocalStore(root, { durability }), lose, close: lose }
  })

/** Where the bytes of an upload lie. */
const fileOf = (root: string, { id }: Upload) => path.join(root, id.slice(0, 3), id)

async function useStore() {
  const root = await useFolder()
  return { root, store: createLocalStore(root) }
}

const UNAVAILABLE = expect.objectContaining({ name: 'HttpError', code: 'unavailable', status: 503 })

test('every batch of up to 1 MiB is one turn, and no more than that is asked of the body at once', async () => {
  const { store } = await useStore()
  const bytes = bytesOf(3 * MIB + 5)
  const [body, turn] = [bodyOf(bytes), turnOf()]
  await store.writeAt(writeOf(uploadOf(bytes.length, bytes.length), 0, bytes, { body, turn }))
  expect(turn.entered).toBe(4)
  expect(body.asked).toEqual([MIB, MIB, MIB, 5])
})

test('the file is written in place: a write into the middle keeps what is around it', async () => {
  const { root, store } = await useStore()
  const upload = uploadOf(100)
  await store.writeAt(writeOf(upload, 0, Buffer.alloc(100, 'a')))
  await store.writeAt(writeOf(upload, 40, Buffer.alloc(20, 'b')))
  expect(await readFile(fileOf(root, upload), 'latin1')).toBe(
    'a'.repeat(40) + 'b'.repeat(20) + 'a'.repeat(40),
  )
})

test('the folder is made where there is none, and another store on it finds what is there', async () => {
  const root = path.join(await useFolder(), 'not', 'there', 'yet')
  const upload = uploadOf(CELL)
  await createLocalStore(root).writeAt(writeOf(upload, 0, bytesOf(CELL)))
  expect(sha256(await readAll(createLocalStore(root), upload, 0, CELL))).toBe(sha256(bytesOf(CELL)))
})

test('remove leaves no file behind, nor what a concatenation left that broke off', async () => {
  const { root, store } = await useStore()
  const upload = uploadOf(CELL)
  await store.writeAt(writeOf(upload, 0, bytesOf(CELL)))
  const target = uploadOf(2 * CELL)
  await expect(store.concat(target, [upload, uploadOf(CELL)])).rejects.toThrow()
  expect(existsSync(fileOf(root, upload))).toBe(true)
  for (const each of [upload, target]) await store.remove(each)
  expect(await filesIn(root)).toEqual([])
})

test('what a killed concatenation left goes with the next one, or with the upload', async () => {
  const { root, store } = await useStore()
  const part = uploadOf(CELL)
  await store.writeAt(writeOf(part, 0, bytesOf(CELL)))
  const target = { ...uploadOf(CELL), concat: `final;/files/${part.id}` }
  const namesOf = () => readdirSync(path.dirname(fileOf(root, target)))
  const leave = () => writeFile(`${fileOf(root, target)}.5e1f.join`, 'half of it')
  await mkdir(path.dirname(fileOf(root, target)), { recursive: true })
  await leave()
  await store.concat(target, [part])
  expect(namesOf()).toEqual([target.id])
  await leave()
  await store.remove(target)
  expect(namesOf()).toEqual([])
})

test('of two concatenations of one target neither puts in place what the other one has begun', async () => {
  const { store } = await useStore()
  const bytes = bytesOf(24 * MIB)
  const part = uploadOf(bytes.length, bytes.length)
  await store.writeAt(writeOf(part, 0, bytes))
  const target = { ...uploadOf(2 * bytes.length), concat: `final;/files/${part.id}` }
  const early = store.concat(target, [part, part])
  await new Promise((resolve) => setTimeout(resolve, 5))
  const outcomes = await Promise.allSettled([early, store.concat(target, [part, part])])
  expect(outcomes.some(({ status }) => status === 'fulfilled')).toBe(true)
  for (const each of outcomes) if (each.status === 'rejected') expect(each.reason).toEqual(UNAVAILABLE)
  const whole = Buffer.concat([bytes, bytes])
  expect(sha256(await readAll(store, target, 0, whole.length))).toBe(sha256(whole))
})

test('remove fails where the file stays', async () => {
  const { root, store } = await useStore()
  const upload = uploadOf(CELL)
  await mkdir(fileOf(root, upload), { recursive: true })
  await expect(store.remove(upload)).rejects.toEqual(UNAVAILABLE)
})

test('nobody but the owner of the process and its group may read a file', async () => {
  const { root, store } = await useStore()
  const upload = uploadOf(10)
  await store.writeAt(writeOf(upload, 0, bytesOf(10)))
  expect((await stat(fileOf(root, upload))).mode & 0o007).toBe(0)
})

test('compareAt finds bytes different that are stored in part or not at all', async () => {
  const { store } = await useStore()
  const bytes = bytesOf(CELL)
  const upload = uploadOf(2 * CELL)
  await store.writeAt(writeOf(upload, 0, bytes.subarray(0, CELL - 1)))
  expect(await store.compareAt(writeOf(upload, 0, bytes))).toMatchObject({ same: false, failure: null })
  expect(await store.compareAt(writeOf(upload, CELL, bytes))).toMatchObject({ same: false, failure: null })
})

test('compareAt tells a file that is gone as its failure', async () => {
  const { store } = await useStore()
  expect(await store.compareAt(writeOf(uploadOf(10), 0, bytesOf(10)))).toMatchObject({
    bytes: 0,
    failure: UNAVAILABLE,
  })
})

test('a symbolic link in place of the file is not followed by a write', async () => {
  const { root, store } = await useStore()
  const target = path.join(root, 'target')
  await writeFile(target, 'precious')
  const upload = uploadOf(10)
  await mkdir(path.dirname(fileOf(root, upload)))
  await symlink(target, fileOf(root, upload))
  expect(await store.writeAt(writeOf(upload, 0, bytesOf(10)))).toEqual({ bytes: 0, failure: UNAVAILABLE })
  expect(await readFile(target, 'utf8')).toBe('precious')
})

test('a symbolic link to nowhere in place of the file creates nothing there', async () => {
  const { root, store } = await useStore()
  const target = path.join(root, 'target')
  const upload = uploadOf(10)
  await mkdir(path.dirname(fileOf(root, upload)))
  await symlink(target, fileOf(root, upload))
  expect(await store.writeAt(writeOf(upload, 0, bytesOf(10)))).toEqual({ bytes: 0, failure: UNAVAILABLE })
  expect(existsSync(target)).toBe(false)
})

test('a symbolic link in place of the file is not followed by a comparison or a read', async () => {
  const { root, store } = await useStore()
  const target = path.join(root, 'target')
  await writeFile(target, 'precious')
  const upload = uploadOf(8)
  await mkdir(path.dirname(fileOf(root, upload)))
  await symlink(target, fileOf(root, upload))
  const compared = await store.compareAt(writeOf(upload, 0, Buffer.from('precious')))
  expect(compared).toMatchObject({ bytes: 0, failure: UNAVAILABLE })
  await expect(readAll(store, upload, 0, 8)).rejects.toMatchObject({ code: 'ELOOP' })
})

test('a body without a byte makes no file', async () => {
  const { root, store } = await useStore()
  const upload = uploadOf(10)
  const write = writeOf(upload, 0, bytesOf(10), { body: bodyOf(Buffer.alloc(0)) })
  expect(await store.writeAt(write)).toEqual(takenWhole(0))
  expect(existsSync(fileOf(root, upload))).toBe(false)
})

test('a root that vanished is not made again by a write', async () => {
  const { root, store } = await useStore()
  await store.writeAt(writeOf(uploadOf(10), 0, bytesOf(10)))
  await rm(root, { recursive: true })
  expect(await store.writeAt(writeOf(uploadOf(10), 0, bytesOf(10)))).toEqual({
    bytes: 0,
    failure: UNAVAILABLE,
  })
  expect(existsSync(root)).toBe(false)
})

test('a folder that stands in for the root is no storage, and what comes meanwhile goes nowhere', async () => {
  const { root, store } = await useStore()
  const [there, fresh, target] = [uploadOf(10), uploadOf(10), uploadOf(10)]
  await store.writeAt(writeOf(there, 0, bytesOf(10)))
  await rename(root, `${root}-away`)
  onTestFinished(() => rm(`${root}-away`, { recursive: true, force: true }))
  await mkdir(root)

  await expect(store.check()).rejects.toEqual(UNAVAILABLE)
  for (const upload of [{ ...there, offset: 5 }, fresh])
    expect(await store.writeAt(writeOf(upload, 5, bytesOf(5)))).toEqual({ bytes: 0, failure: UNAVAILABLE })
  await expect(readAll(store, there, 0, 10)).rejects.toEqual(UNAVAILABLE)
  await expect(store.remove(there)).rejects.toEqual(UNAVAILABLE)
  await expect(store.concat(target, [there])).rejects.toEqual(UNAVAILABLE)
  expect(readdirSync(root)).toEqual([])

  // Another store made this one its own.
  createLocalStore(root)
  await expect(store.check()).rejects.toEqual(UNAVAILABLE)
  await rm(root, { recursive: true })

  await rename(`${root}-away`, root)
  await store.check()
  expect(sha256(await readAll(store, there, 0, 10))).toBe(sha256(bytesOf(10)))
})

test.each([
  ['that is gone is not made anew', (file: string) => rm(file)],
  ['that lost its end is not written behind it', (file: string) => truncate(file, 9)],
])('a file with committed bytes %s: they are lost', async (_what, harm) => {
  const { root, store } = await useStore()
  const upload = uploadOf(20)
  await store.writeAt(writeOf(upload, 0, bytesOf(10)))
  await harm(fileOf(root, upload))
  const written = await store.writeAt(writeOf({ ...upload, offset: 10 }, 10, bytesOf(10)))
  expect(written).toMatchObject({ bytes: 0, failure: { code: 'storage_lost', status: 409 } })
  expect(existsSync(fileOf(root, upload)) ? (await stat(fileOf(root, upload))).size : 0).toBeLessThan(10)
})

test('what can not be removed is a failure, and not taken for gone', async () => {
  const { root, store } = await useStore()
  const upload = uploadOf(10)
  await writeFile(path.dirname(fileOf(root, upload)), 'a file where the folder should be')
  await expect(store.remove(upload)).rejects.toEqual(UNAVAILABLE)
})

test('a concatenation of a part that is shorter than it should be fails, also of the first', async () => {
  const { root, store } = await useStore()
  const [short, whole, target] = [uploadOf(10), uploadOf(10), uploadOf(20)]
  await store.writeAt(writeOf(short, 0, bytesOf(4)))
  await store.writeAt(writeOf(whole, 0, bytesOf(10)))
  for (const parts of [
    [short, whole],
    [whole, short],
  ]) {
    await expect(store.concat(target, parts)).rejects.toEqual(UNAVAILABLE)
    expect(existsSync(fileOf(root, target))).toBe(false)
  }
})

test('a concatenation that finds no room is 507, and leaves nothing behind once it is removed', async (ctx) => {
  const root = await useSmallDisk(ctx, '3m')
  const store = createLocalStore(root)
  const [part, target] = [uploadOf(2 * MIB), uploadOf(4 * MIB)]
  await store.writeAt(writeOf(part, 0, bytesOf(2 * MIB)))
  await expect(store.concat(target, [part, part])).rejects.toMatchObject({ code: 'insufficient_storage' })
  await store.remove(target)
  const shard = path.dirname(fileOf(root, target))
  expect(existsSync(shard) ? readdirSync(shard).filter((name) => name.startsWith(target.id)) : []).toEqual([])
})

test('removing an upload whose file is a symbolic link leaves its target alone', async () => {
  const { root, store } = await useStore()
  const target = path.join(root, 'target')
  await writeFile(target, 'precious')
  const upload = uploadOf(10)
  await mkdir(path.dirname(fileOf(root, upload)))
  await symlink(target, fileOf(root, upload))
  await store.remove(upload)
  expect(await readFile(target, 'utf8')).toBe('precious')
})

test('a file in place of its folder, and a folder in place of it, are failures of the first write', async () => {
  const { root, store } = await useStore()
  const [blocked, replaced] = [uploadOf(10), uploadOf(10)]
  await writeFile(path.dirname(fileOf(root, blocked)), '')
  await mkdir(fileOf(root, replaced), { recursive: true })
  for (const upload of [blocked, replaced]) {
    const [body, turn] = [bodyOf(bytesOf(10)), turnOf()]
    const write = writeOf(upload, 0, bytesOf(10), { body, turn })
    expect(await store.writeAt(write)).toEqual({ bytes: 0, failure: UNAVAILABLE })
    expect([body.asked.length, turn.entered, turn.inside()]).toEqual([1, 1, false])
    expect(await store.compareAt(writeOf(upload, 0, bytesOf(10)))).toMatchObject({ failure: UNAVAILABLE })
  }
})

test('a folder that may not be written is a failure of the write', async () => {
  const { root, store } = await useStore()
  await store.writeAt(writeOf(uploadOf(10), 0, bytesOf(10)))
  await chmod(root, 0o555)
  onTestFinished(() => chmod(root, 0o755))
  await asNobody(async () => {
    const written = await store.writeAt(writeOf(uploadOf(10), 0, bytesOf(10)))
    expect(written).toEqual({ bytes: 0, failure: UNAVAILABLE })
    expect(written.failure?.cause).toMatchObject({ code: 'EACCES' })
  })
})

test('a disk that turned read-only is a failure of the write, and of the check', async (ctx) => {
  const root = await useSmallDisk(ctx, '1m')
  const store = createLocalStore(root)
  const upload = uploadOf(20)
  await store.writeAt(writeOf(upload, 0, bytesOf(10)))
  mount('-o', 'remount,ro', root)
  expect(await store.writeAt(writeOf(upload, 10, bytesOf(10)))).toEqual({ bytes: 0, failure: UNAVAILABLE })
  await expect(store.check()).rejects.toMatchObject({ code: 'EROFS' })
  await expect(store.remove(upload)).rejects.toEqual(UNAVAILABLE)
})

test('a full disk is 507, tells the bytes that are in place, and takes the rest once there is room', async (ctx) => {
  const root = await useSmallDisk(ctx, '4m')
  const store = createLocalStore(root)
  const filler = uploadOf(2 * MIB)
  expect(await store.writeAt(writeOf(filler, 0, bytesOf(2 * MIB)))).toEqual(takenWhole(2 * MIB))

  const bytes = bytesOf(3 * MIB, 2)
  const upload = uploadOf(bytes.length, bytes.length)
  const turn = turnOf()
  const full = await store.writeAt(writeOf(upload, 0, bytes, { turn }))
  expect(full.failure).toMatchObject({ name: 'HttpError', code: 'insufficient_storage', status: 507 })
  expect(full.bytes).toBeGreaterThan(0)
  expect(full.bytes).toBeLessThan(bytes.length)
  const arrived = bytes.subarray(0, full.bytes)
  expect(sha256(await readAll(store, upload, 0, full.bytes))).toBe(sha256(arrived))
  expect(turn.inside()).toBe(false)

  await store.remove(filler)
  const rest = bytes.subarray(full.bytes)
  expect(await store.writeAt(writeOf(upload, full.bytes, rest))).toEqual(takenWhole(rest.length))
  expect(sha256(await readAll(store, upload, 0, bytes.length))).toBe(sha256(bytes))
})

test('no handle stays open after a write, a failure, a comparison, or a read that is given up', async (ctx) => {
  if (!existsSync('/proc/self/fd')) ctx.skip('there is no /proc to count open files in')
  const { root, store } = await useStore()
  const open = () => openFiles().filter((file) => file.startsWith(root))
  const bytes = bytesOf(3 * MIB)
  const upload = uploadOf(bytes.length, bytes.length)
  let during: string[] = []
  const body = bodyOf(bytes, { before: () => (during = open()) })
  await store.writeAt(writeOf(upload, 0, bytes, { body }))
  expect(during).toEqual([fileOf(root, upload)])
  await store.writeAt(writeOf(upload, 0, bytes, { body: bodyOf(bytes, { breaksAfter: 10 }) }))
  await store.compareAt(writeOf(upload, 0, bytesOf(MIB, 9)))
  const turn = { enter: () => undefined, leave: () => {} }
  const failing = bodyOf(bytes, {
    before: () => {
      throw new Error('a body that throws')
    },
  })
  const failed = await store.writeAt(writeOf(upload, 0, bytes, { body: failing, turn }))
  expect(failed.failure?.cause).toMatchObject({ message: 'a body that throws' })
  const reading = store.read(upload, { start: 0, end: bytes.length })[Symbol.asyncIterator]()
  await reading.next()
  expect(open()).toEqual([fileOf(root, upload)])
  await reading.return?.()
  expect(open()).toEqual([])
})

test('a completed file stays open for its next reader, and not behind its removal', async (ctx) => {
  if (!existsSync('/proc/self/fd')) ctx.skip('there is no /proc to count open files in')
  const { root, store } = await useStore()
  const bytes = bytesOf(1_000)
  const upload = uploadOf(bytes.length, bytes.length)
  await store.writeAt(writeOf(upload, 0, bytes))
  const completed = { ...upload, status: 'COMPLETED' as const }
  expect(await readAll(store, completed, 0, 10)).toEqual(bytes.subarray(0, 10))
  const open = () => openFiles().filter((file) => file.startsWith(root))
  expect(open()).toEqual([fileOf(root, upload)])
  await store.remove(completed)
  await vi.waitFor(() => expect(open()).toEqual([]))
  await expect(readAll(store, completed, 0, 10)).rejects.toThrow('ENOENT')
})

/** What this process has open. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)]
    } catch {
      // The handle that read the folder is gone by now.
      return []
    }
  })
}

/** Root may do anything: what must be forbidden is done as somebody else. */
async function asNobody(work: () => Promise<void>): Promise<void> {
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(65_534)
  try {
    await work()
  } finally {
    if (isRoot) process.seteuid?.(0)
  }
}

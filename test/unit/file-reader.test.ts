import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { createFileReader, readBytesOf } from '../../src/stores/file-reader.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'

test.each([
  [1, MIB / 2],
  [32, MIB / 2],
  [33, MIB / 4],
  [64, MIB / 4],
  [256, MIB / 16],
  [10_000, MIB / 16],
])('one of %i readers reads %i bytes at a time', (readers, bytes) => {
  expect(readBytesOf(readers)).toBe(bytes)
})

test('many readers hold little each, get the bytes all the same, and give their share back', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'reader-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = path.join(folder, 'file')
  const bytes = bytesOf(2 * MIB)
  await writeFile(file, bytes)
  const reader = createFileReader()
  const range = { start: 0, end: bytes.length }

  const many = Array.from({ length: 128 }, () => reader.read(file, range))
  const firsts = await Promise.all(many.map(async (each) => (await each.next()).value?.length ?? 0))
  const late = reader.read(file, range)
  expect((await late.next()).value).toHaveLength(readBytesOf(129))
  // Half of them leave in the middle, half come to the end.
  const left = many.splice(0, 64)
  await Promise.all(left.map((each) => each.return(undefined)))
  for (const [i, each] of many.entries()) {
    let rest = 0
    for await (const piece of each) rest += piece.length
    expect(rest).toBe(bytes.length - (firsts[64 + i] ?? 0))
  }
  await late.return(undefined)

  const alone: Uint8Array[] = []
  for await (const piece of reader.read(file, range)) alone.push(Buffer.from(piece))
  expect(alone[0]).toHaveLength(MIB / 2)
  expect(sha256(Buffer.concat(alone))).toBe(sha256(bytes))
})

test('a reader’s bytes stay as they are until its next, whatever others read meanwhile', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'reader-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const reader = createFileReader()
  const open = async (fill: number) => {
    const file = path.join(folder, String(fill))
    await writeFile(file, Buffer.alloc(2 * MIB, fill))
    return reader.read(file, { start: 0, end: 2 * MIB })
  }
  const slow = await open(1)
  const held = (await slow.next()).value
  for (const fill of [2, 3]) for await (const piece of await open(fill)) expect(piece[0]).toBe(fill)
  expect(held?.every((byte) => byte === 1)).toBe(true)
  await slow.return(undefined)
})

test('a reader that gets no memory leaves the others each with bytes of their own', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'reader-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const reader = createFileReader()
  const open = async (fill: number, bytes: number) => {
    const file = path.join(folder, String(fill))
    await writeFile(file, Buffer.alloc(bytes, fill))
    return reader.read(file, { start: 0, end: bytes })
  }
  // What is left behind its first bytes fits a smaller buffer, of which there is none yet.
  const unlucky = await open(1, MIB / 2 + 10)
  await unlucky.next()
  const allocating = vi.spyOn(Buffer, 'allocUnsafeSlow').mockImplementationOnce(() => {
    throw new RangeError('Array buffer allocation failed')
  })
  onTestFinished(() => allocating.mockRestore())
  await expect(unlucky.next()).rejects.toThrow('allocation failed')

  const [first, second] = [await open(2, MIB), await open(3, MIB)]
  const held = (await first.next()).value
  await second.next()
  expect(held?.every((byte) => byte === 2)).toBe(true)
  await Promise.all([first.return(undefined), second.return(undefined)])
})

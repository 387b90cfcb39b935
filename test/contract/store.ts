import { createHash, randomUUID } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ChunkStore, Write, Written } from '../../src/core/ports/store.ts'
import type { Upload } from '../../src/core/upload.ts'
import { bodyOf, turnOf } from '../support/body.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { keepNotes, type KeptNotes } from '../support/storage-notes.ts'

/** A store on an empty place. */
export interface StoreFixture {
  store: ChunkStore
  /** Takes away what the bytes are kept in; null where that is not to be had. */
  lose: (() => Promise<void>) | null
  close(): Promise<void>
}

export const CELL = 100_000

export const uploadOf = (size: number | null, chunkSize = CELL): Upload => ({
  id: randomUUID(),
  ownerId: 'ada',
  dialect: 'native',
  fileName: 'a',
  size,
  chunkSize,
  status: 'IN_PROGRESS',
  contentType: null,
  metadata: {},
  concat: null,
  checksumSha256: null,
  offset: 0,
  appendOffset: null,
  storedCells: 0,
  storageId: null,
  staged: false,
  createdAt: new Date(0),
  updatedAt: new Date(0),
  expiresAt: new Date('2099-01-01'),
})

/** A write of `bytes`, unless told otherwise all of them, from a body of its own in a turn of its own. */
export const writeOf = (
  upload: Upload,
  position: number,
  bytes: Uint8Array,
  fields: Partial<Write> = {},
): Write => ({
  upload,
  position,
  stored: null,
  length: bytes.length,
  body: bodyOf(bytes),
  turn: turnOf(),
  ...fields,
})

export const takenWhole = (bytes: number): Written => ({ bytes, failure: null })

export async function readAll(
  store: ChunkStore,
  upload: Upload,
  start: number,
  end: number,
): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of store.read(upload, { start, end })) pieces.push(Buffer.from(piece))
  return Buffer.concat(pieces)
}

/** The cells of a file, as [position, bytes]. */
export function cellsOf(bytes: Buffer, cell = CELL): [position: number, bytes: Buffer][] {
  const count = Math.ceil(bytes.length / cell)
  return Array.from({ length: count }, (_, i) => [i * cell, bytes.subarray(i * cell, (i + 1) * cell)])
}

/**
 * What every ChunkStore does, wherever it keeps the bytes.
 * @param make given what stands in for the ledger
 */
export function storeContract(name: string, make: (notes: KeptNotes) => Promise<StoreFixture>): void {
  describe(`ChunkStore on ${name}`, () => {
    let fixture: StoreFixture
    let store: ChunkStore
    let notes: KeptNotes
    beforeEach(async () => {
      notes = keepNotes()
      fixture = await make(notes)
      ;({ store } = fixture)
    })
    afterEach(() => fixture.close())

    /** A write whose bytes are made to count. @returns what came of it, but for what is the ledger's */
    const put = async (upload: Upload, position: number, bytes: Uint8Array, fields: Partial<Write> = {}) => {
      const stored = notes.cellOf(upload, position)
      const write = writeOf(notes.rowOf(upload), position, bytes, { stored, ...fields })
      const written = await store.writeAt(write)
      notes.commit(write, written)
      if (stored?.ref) store.discard?.(upload, [stored.ref])
      return { bytes: written.bytes, failure: written.failure }
    }
    /** A comparison with what counts. */
    const compare = (upload: Upload, position: number, bytes: Uint8Array, fields: Partial<Write> = {}) =>
      store.compareAt(writeOf(upload, position, bytes, { stored: notes.cellOf(upload, position), ...fields }))
    /** Makes a file of cells that are whole. */
    const finish = async (upload: Upload) => store.finalize?.(notes.rowOf(upload))
    /** The file as it is once it is complete. */
    const contents = async (upload: Upload) => {
      await finish(upload)
      return readAll(store, upload, 0, upload.size ?? 0)
    }
    /** A file whose cells are all there. */
    const stored = async (bytes: Buffer) => {
      const upload = uploadOf(bytes.length)
      for (const [position, cell] of cellsOf(bytes)) await put(upload, position, cell)
      return upload
    }
    const remove = (upload: Upload) => store.remove(notes.rowOf(upload))
    const join = (target: Upload, parts: readonly Upload[]) =>
      store.concat(notes.rowOf(target), parts.map(notes.rowOf))

    describe('writeAt', () => {
      it('of cells in any order makes the file', async () => {
        const bytes = bytesOf(4 * CELL + 17)
        const upload = uploadOf(bytes.length)
        const cells = cellsOf(bytes)
        for (const index of [4, 1, 3, 0, 2]) {
          const [position, cell] = cells[index] as (typeof cells)[0]
          expect(await put(upload, position, cell)).toEqual(takenWhole(cell.length))
        }
        expect(sha256(await contents(upload))).toBe(sha256(bytes))
      })

      it('of many cells of many uploads at once makes the files', async () => {
        const files = [1, 2, 3, 4].map((seed) => bytesOf(8 * CELL + seed, seed))
        const uploads = files.map(({ length }) => uploadOf(length))
        await Promise.all(
          files.flatMap((bytes, i) =>
            cellsOf(bytes)
              .toReversed()
              .map(([position, cell]) => put(uploads[i] as Upload, position, cell)),
          ),
        )
        for (const [i, upload] of uploads.entries())
          expect(sha256(await contents(upload))).toBe(sha256(files[i] as Buffer))
      })

      it('goes on within a cell where another write ended', async () => {
        const bytes = bytesOf(CELL)
        const upload = uploadOf(CELL)
        for (const [start, end] of [
          [0, 1],
          [1, 40_000],
          [40_000, CELL],
        ] as const)
          expect(await put(upload, start, bytes.subarray(start, end))).toEqual(takenWhole(end - start))
        expect(sha256(await contents(upload))).toBe(sha256(bytes))
      })

      it('counts for the bytes that came last to a place', async () => {
        const bytes = bytesOf(2 * CELL)
        const upload = uploadOf(bytes.length)
        const [first, second] = cellsOf(bytes) as [[number, Buffer], [number, Buffer]]
        await put(upload, ...second)
        await store.writeAt(writeOf(upload, 0, bytesOf(CELL, 99)))
        await put(upload, ...first)
        expect(sha256(await contents(upload))).toBe(sha256(bytes))
      })

      it.each([1, 7, 999, CELL])('takes a body in pieces of %i bytes', async (pieceBytes) => {
        const bytes = bytesOf(CELL)
        const upload = uploadOf(CELL)
        const body = bodyOf(bytes, { pieceBytes })
        expect(await put(upload, 0, bytes, { body })).toEqual(takenWhole(CELL))
        expect(sha256(await contents(upload))).toBe(sha256(bytes))
      })

      it('takes a cell of several MiB', async () => {
        const bytes = bytesOf(3 * MIB + 5)
        const upload = uploadOf(bytes.length, bytes.length)
        expect(await put(upload, 0, bytes)).toEqual(takenWhole(bytes.length))
        expect(sha256(await contents(upload))).toBe(sha256(bytes))
      })

      it('takes no more than it is told to, and leaves the rest to the next write', async () => {
        const bytes = bytesOf(2 * CELL)
        const upload = uploadOf(bytes.length)
        const body = bodyOf(bytes)
        expect(await put(upload, 0, bytes, { body, length: CELL })).toEqual(takenWhole(CELL))
        expect(body.left()).toBe(CELL)
        expect(await put(upload, CELL, bytes, { body, length: CELL })).toEqual(takenWhole(CELL))
        expect(sha256(await contents(upload))).toBe(sha256(bytes))
      })

      it.each([
        ['ends', (bytes: Buffer) => bodyOf(bytes.subarray(0, 1234))],
        ['breaks off', (bytes: Buffer) => bodyOf(bytes, { breaksAfter: 1234 })],
      ])('of a body that %s early tells what arrived, and it is in place', async (_what, make) => {
        const bytes = bytesOf(CELL)
        const upload = uploadOf(CELL)
        const body = make(bytes)
        expect(await put(upload, 0, bytes, { body })).toEqual(takenWhole(1234))
        expect(await put(upload, 1234, bytes.subarray(1234))).toEqual(takenWhole(CELL - 1234))
        expect(sha256(await contents(upload))).toBe(sha256(bytes))
      })

      it('of a body without a byte writes nothing', async () => {
        const upload = await stored(bytesOf(CELL))
        expect(await put(upload, 0, bytesOf(10), { body: bodyOf(Buffer.alloc(0)) })).toEqual(takenWhole(0))
        expect(sha256(await contents(upload))).toBe(sha256(bytesOf(CELL)))
      })

      it('shows every byte to the digest, once and in order, and none that it did not take', async () => {
        const bytes = bytesOf(CELL)
        const digest = createHash('sha256')
        const body = bodyOf(bytes, { pieceBytes: 777, breaksAfter: 60_000 })
        await put(uploadOf(CELL), 0, bytes, { body, digest })
        expect(digest.digest('hex')).toBe(sha256(bytes.subarray(0, 60_000)))
      })
    })

    describe('a turn', () => {
      it('is entered and left for every write, and never kept while waiting for bytes', async () => {
        const bytes = bytesOf(3 * MIB + 5)
        const turn = turnOf()
        let kept = 0
        const body = bodyOf(bytes, { before: () => (kept += Number(turn.inside())) })
        await store.writeAt(writeOf(uploadOf(bytes.length, bytes.length), 0, bytes, { body, turn }))
        expect(turn.entered).toBeGreaterThan(0)
        expect([kept, turn.inside()]).toEqual([0, false])
      })

      it('is not kept after a body that broke off', async () => {
        const bytes = bytesOf(CELL)
        const turn = turnOf()
        const body = bodyOf(bytes, { breaksAfter: 10 })
        await store.writeAt(writeOf(uploadOf(CELL), 0, bytes, { body, turn }))
        expect(turn.inside()).toBe(false)
      })

      it('is not taken for a body without a byte', async () => {
        const turn = turnOf()
        const body = bodyOf(Buffer.alloc(0))
        await store.writeAt(writeOf(uploadOf(CELL), 0, bytesOf(10), { body, turn }))
        expect(turn.entered).toBe(0)
      })

      it('is waited for before a write, and nothing more is taken meanwhile', async () => {
        const bytes = bytesOf(CELL)
        const upload = uploadOf(CELL)
        let [grant, wants] = [() => {}, () => {}]
        const granted = new Promise<void>((resolve) => (grant = resolve))
        const wanted = new Promise<void>((resolve) => (wants = resolve))
        const body = bodyOf(bytes)
        let done = false
        const turn = {
          enter() {
            wants()
            return granted
          },
          leave: () => {},
        }
        const write = writeOf(upload, 0, bytes, { body, turn })
        const writing = store.writeAt(write)
        void writing.then(() => (done = true))
        await wanted
        const { length: taken } = body.asked
        for (let i = 0; i < 100; i++) await setImmediate()
        expect([done, body.waiting, body.asked.length]).toEqual([false, false, taken])
        grant()
        const written = await writing
        expect(written).toMatchObject(takenWhole(CELL))
        notes.commit(write, written)
        expect(sha256(await contents(upload))).toBe(sha256(bytes))
      })
    })

    describe('compareAt', () => {
      it('finds the same bytes the same, whatever their pieces', async () => {
        const bytes = bytesOf(2 * CELL)
        const upload = await stored(bytes)
        for (const [position, cell] of cellsOf(bytes)) {
          const body = bodyOf(cell, { pieceBytes: 999 })
          expect(await compare(upload, position, cell, { body })).toEqual({
            ...takenWhole(CELL),
            same: true,
          })
        }
      })

      it.each([0, CELL / 2, CELL - 1])('finds one other byte, at %i', async (at) => {
        const bytes = bytesOf(2 * CELL)
        const upload = await stored(bytes)
        const other = Buffer.from(bytes.subarray(CELL))
        other[at] = 255 - (other[at] as number)
        expect(await compare(upload, CELL, other)).toMatchObject({
          same: false,
          failure: null,
        })
      })

      it('changes nothing, also where it finds other bytes', async () => {
        const bytes = bytesOf(CELL)
        const upload = await stored(bytes)
        await compare(upload, 0, bytesOf(CELL, 99))
        expect(sha256(await contents(upload))).toBe(sha256(bytes))
      })

      it('takes no more than what is committed of the cell, and leaves the rest to a write', async () => {
        const bytes = bytesOf(CELL)
        const upload = uploadOf(CELL)
        await put(upload, 0, bytes.subarray(0, 1234))
        const body = bodyOf(bytes)
        expect(await compare(upload, 0, bytes, { body, length: 1234 })).toEqual({
          ...takenWhole(1234),
          same: true,
        })
        expect(body.left()).toBe(CELL - 1234)
        expect(await put(upload, 1234, bytes.subarray(1234), { body })).toEqual(takenWhole(CELL - 1234))
        expect(sha256(await contents(upload))).toBe(sha256(bytes))
      })

      it('of a body that breaks off tells what arrived', async () => {
        const bytes = bytesOf(CELL)
        const upload = await stored(bytes)
        const body = bodyOf(bytes, { breaksAfter: 1234 })
        expect(await compare(upload, 0, bytes, { body })).toMatchObject(takenWhole(1234))
      })

      it('shows every byte to the digest, once and in order', async () => {
        const bytes = bytesOf(CELL)
        const upload = await stored(bytes)
        const digest = createHash('sha256')
        await compare(upload, 0, bytes, { digest, body: bodyOf(bytes, { pieceBytes: 777 }) })
        expect(digest.digest('hex')).toBe(sha256(bytes))
      })
    })

    describe('concat', () => {
      const joined = async (parts: readonly Buffer[]) => {
        const uploads: Upload[] = []
        for (const part of parts) uploads.push(await stored(part))
        const size = parts.reduce((sum, { length }) => sum + length, 0)
        const target = uploadOf(size)
        await join(target, uploads)
        return { target, uploads, read: () => readAll(store, target, 0, size) }
      }

      it.each([
        ['one part', [CELL]],
        ['parts of any length', [1, 2 * CELL, CELL - 1, 5 * MIB + 3]],
        ['an empty part among others', [0, 10, 0, 20, 0]],
      ])('of %s is their bytes, one behind the other', async (_what, sizes) => {
        const parts = sizes.map((size, i) => bytesOf(size, i + 1))
        const { read } = await joined(parts)
        expect(sha256(await read())).toBe(sha256(Buffer.concat(parts)))
      })

      it('of empty parts is an empty file', async () => {
        const { read } = await joined([Buffer.alloc(0), Buffer.alloc(0)])
        expect(await read()).toHaveLength(0)
      })

      it('takes one part twice, and leaves the parts as they are', async () => {
        const [a, b] = [bytesOf(CELL + 1, 1), bytesOf(10, 2)]
        const { uploads } = await joined([a, b])
        const target = uploadOf(2 * a.length + b.length)
        const [first, second] = uploads as [Upload, Upload]
        await join(target, [first, second, first])
        expect(sha256(await readAll(store, target, 0, target.size ?? 0))).toBe(
          sha256(Buffer.concat([a, b, a])),
        )
        expect(sha256(await contents(first))).toBe(sha256(a))
        expect(sha256(await contents(second))).toBe(sha256(b))
      })

      it('may be done again, and its file outlives the parts', async () => {
        const parts = [bytesOf(CELL, 1), bytesOf(CELL, 2)]
        const { target, uploads, read } = await joined(parts)
        await join(target, uploads)
        for (const part of uploads) await remove(part)
        expect(sha256(await read())).toBe(sha256(Buffer.concat(parts)))
      })

      it('fails where a later part lacks bytes, and shows no half of the file', async () => {
        const [whole, short] = [await stored(bytesOf(CELL)), await stored(bytesOf(10))]
        const target = uploadOf(2 * CELL)
        await expect(join(target, [whole, { ...short, size: CELL }])).rejects.toThrow()
        await expect(readAll(store, target, 0, 1)).rejects.toThrow()
        await remove(target)
      })
    })

    describe('read', () => {
      it.each([
        ['the whole file', 0, 2 * CELL + 17],
        ['the first byte', 0, 1],
        ['the last byte', 2 * CELL + 16, 2 * CELL + 17],
        ['bytes across cells', CELL - 1, CELL + 1],
        ['a cell', CELL, 2 * CELL],
        ['nothing', 5, 5],
      ])('gives %s', async (_what, start, end) => {
        const bytes = bytesOf(2 * CELL + 17)
        const upload = await stored(bytes)
        await finish(upload)
        const part = await readAll(store, upload, start, end)
        expect([part.length, sha256(part)]).toEqual([end - start, sha256(bytes.subarray(start, end))])
      })

      it('gives nothing of an empty file that no byte ever created', async () => {
        const upload = uploadOf(0)
        expect(await contents(upload)).toHaveLength(0)
      })

      it('fails where bytes are missing, rather than end early', async () => {
        const upload = await stored(bytesOf(CELL))
        await finish(upload)
        await expect(readAll(store, upload, 0, CELL + 1)).rejects.toThrow()
        await expect(readAll(store, uploadOf(10), 0, 10)).rejects.toThrow()
      })
    })

    describe('remove', () => {
      it('removes the bytes of one upload, and no other', async () => {
        const [gone, kept] = [await stored(bytesOf(CELL, 1)), await stored(bytesOf(CELL, 2))]
        await remove(gone)
        await finish(kept)
        await expect(readAll(store, gone, 0, CELL)).rejects.toThrow()
        expect(sha256(await readAll(store, kept, 0, CELL))).toBe(sha256(bytesOf(CELL, 2)))
      })

      it('may be called again, at once too, and for an upload without a byte', async () => {
        const upload = await stored(bytesOf(CELL))
        await Promise.all([remove(upload), remove(upload)])
        await remove(upload)
        await remove(uploadOf(10))
      })

      it('leaves nothing of the old bytes to a later write', async () => {
        const upload = await stored(bytesOf(2 * CELL, 1))
        await remove(upload)
        notes.forget(upload)
        const short = { ...upload, size: CELL }
        await put(short, 0, bytesOf(CELL, 2))
        await finish(short)
        await expect(readAll(store, short, 0, 2 * CELL)).rejects.toThrow()
        expect(sha256(await readAll(store, short, 0, CELL))).toBe(sha256(bytesOf(CELL, 2)))
      })
    })

    it('check passes, and fails once the place is gone', async ({ skip }) => {
      await store.check()
      await stored(bytesOf(10))
      await store.check()
      if (!fixture.lose) return skip('the place is not ours to take away')
      await fixture.lose()
      await expect(store.check()).rejects.toThrow()
    })
  })
}

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ChunkStore, Write } from '../../src/core/ports/store.ts'
import type { Upload } from '../../src/core/upload.ts'
import { bodyOf } from '../support/body.ts'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import type { S3Endpoint } from '../support/s3/endpoint.ts'
import { s3StoreOn } from '../support/s3-store.ts'
import { keepNotes, type KeptNotes } from '../support/storage-notes.ts'
import { cellsOf, readAll, uploadOf, writeOf } from './store.ts'

const CELL = 5 * MIB

/** What the store does with a bucket, on any engine. */
export function s3StoreContract(name: string, open: () => Promise<S3Endpoint>): void {
  describe(`the store on ${name}`, () => {
    let s3: S3Endpoint
    let store: ChunkStore
    let notes: KeptNotes
    beforeEach(async () => {
      s3 = await open()
      notes = keepNotes()
      store = s3StoreOn(s3, notes)
    })
    afterEach(() => s3.close())

    const write = async (
      upload: Upload,
      position: number,
      bytes: Uint8Array,
      fields: Partial<Write> = {},
    ) => {
      const stored = notes.cellOf(upload, position)
      const wanted = writeOf(notes.rowOf(upload), position, bytes, { stored, ...fields })
      return { wanted, written: await store.writeAt(wanted) }
    }
    const put = async (upload: Upload, position: number, bytes: Uint8Array, fields: Partial<Write> = {}) => {
      const { wanted, written } = await write(upload, position, bytes, fields)
      expect(written.failure).toBeNull()
      notes.commit(wanted, written)
      return written
    }
    const filled = async (bytes: Buffer, chunkSize = CELL) => {
      const upload = uploadOf(bytes.length, chunkSize)
      for (const [position, cell] of cellsOf(bytes, chunkSize)) await put(upload, position, cell)
      return upload
    }
    const finish = (upload: Upload) => store.finalize?.(notes.rowOf(upload)) ?? Promise.resolve()
    const contents = async (upload: Upload) => {
      await finish(upload)
      return sha256(await readAll(store, upload, 0, upload.size ?? 0))
    }
    /** What is under our prefix: objects by their keys, multipart uploads by how many there are. */
    const left = async () => ({
      objects: (await s3.objects()).map(({ key }) => key.slice(s3.prefix.length)),
      uploads: (await s3.uploads()).length,
    })
    const whole = (upload: Upload) => ({ objects: [upload.id], uploads: 0 })
    const nothing = { objects: [], uploads: 0 }

    it('makes one object of parts that came in any order, and leaves nothing beside it', async () => {
      const bytes = bytesOf(3 * CELL + 17)
      const upload = uploadOf(bytes.length, CELL)
      const cells = cellsOf(bytes, CELL)
      await Promise.all([3, 1, 0, 2].map((i) => put(upload, ...(cells[i] as (typeof cells)[0]))))
      expect(await left()).toEqual({ objects: [], uploads: 1 })
      expect(await contents(upload)).toBe(sha256(bytes))
      expect(await left()).toEqual(whole(upload))
      // A crash may have it done again.
      expect(await contents(upload)).toBe(sha256(bytes))
    })

    it('keeps a part under its ETag and its hash, a piece under a key of its own', async () => {
      const bytes = bytesOf(CELL + 100)
      const upload = uploadOf(bytes.length, CELL)
      const part = await put(upload, 0, bytes.subarray(0, CELL))
      const piece = await put(upload, CELL, bytes.subarray(CELL, CELL + 50))
      expect([part.ref, part.sha256]).toEqual([
        expect.stringMatching(/^part "?[^"]+"?$/),
        sha256(bytes.subarray(0, CELL)),
      ])
      expect([piece.ref, piece.sha256]).toEqual([
        expect.stringMatching(/^staged 1-50-[\w-]+$/),
        sha256(bytes.subarray(CELL, CELL + 50)),
      ])
      expect((await left()).objects).toEqual([`staged/${upload.id}/${piece.ref?.split(' ')[1]}`])
    })

    it('takes a piece back as often as it takes, and never changes one', async () => {
      const bytes = bytesOf(2 * CELL)
      const upload = uploadOf(bytes.length, CELL)
      const ends = [1, 1000, 300_000, 1_000_000, CELL]
      for (const [i, end] of ends.entries())
        await put(upload, ends[i - 1] ?? 0, bytes.subarray(ends[i - 1] ?? 0, end))
      expect((await left()).objects).toHaveLength(4)
      await put(upload, CELL, bytes.subarray(CELL))
      expect(await contents(upload)).toBe(sha256(bytes))
      expect(await left()).toEqual(whole(upload))
    })

    it('puts a write that never counted again, over the old one', async () => {
      const sizes = [1000, 2 * CELL]
      for (const size of sizes) {
        const upload = uploadOf(size, CELL)
        const [first, second] = [bytesOf(size, 1), bytesOf(size, 2)]
        for (const [position, cell] of cellsOf(first, CELL)) await write(upload, position, cell)
        for (const [position, cell] of cellsOf(second, CELL)) await put(upload, position, cell)
        expect(await contents(upload)).toBe(sha256(second))
      }
    })

    it('does not let one who comes late overwrite a file that counts', async () => {
      const bytes = bytesOf(1000, 1)
      const upload = await filled(bytes)
      // Whoever comes late has seen the ledger as it was.
      const late = writeOf(upload, 0, bytesOf(1000, 2))
      expect((await store.writeAt(late)).failure).toMatchObject({ status: 409 })
      const same = await store.writeAt(writeOf(upload, 0, bytes))
      expect(same).toMatchObject({ bytes: 1000, failure: null, sha256: sha256(bytes) })
      expect(await contents(upload)).toBe(sha256(bytes))
    })

    it('writes nothing of a body that breaks off where all or nothing was asked for', async () => {
      const upload = uploadOf(2 * CELL, CELL)
      const body = bodyOf(bytesOf(CELL), { breaksAfter: 1_000_000 })
      const { written } = await write(upload, 0, bytesOf(CELL), { body, allOrNothing: true })
      expect(written).toEqual({ bytes: 1_000_000, failure: null })
      expect(await left()).toEqual(nothing)
    })

    it('joins large files and small ones, whose pieces and parts stay', async () => {
      const files = [bytesOf(4 * CELL + 9, 1), bytesOf(100, 2), bytesOf(17 * MIB, 3), bytesOf(3 * MIB, 4)]
      const parts = [
        await filled(files[0] as Buffer),
        await filled(files[1] as Buffer),
        await filled(files[2] as Buffer, 20 * MIB),
        await filled(files[3] as Buffer, MIB),
      ]
      const order = [1, 0, 2, 3, 0]
      const target = uploadOf(
        order.reduce((sum, i) => sum + (files[i]?.length ?? 0), 0),
        5 * MIB,
      )
      const join = () =>
        store.concat(
          notes.rowOf(target),
          order.map((i) => notes.rowOf(parts[i] as Upload)),
        )
      await join()
      const expected = sha256(Buffer.concat(order.map((i) => files[i] as Buffer)))
      expect(sha256(await readAll(store, target, 0, target.size ?? 0))).toBe(expected)
      await join()
      for (const part of parts) await store.remove(notes.rowOf(part))
      expect(sha256(await readAll(store, target, 0, target.size ?? 0))).toBe(expected)
      expect(await left()).toEqual(whole(target))
    })

    it('makes the object although the multipart upload is gone, where every byte lies beside', async () => {
      const bytes = bytesOf(18 * MIB)
      const upload = await filled(bytes, MIB)
      const uploadId = await s3.client.createMultipartUpload({
        Bucket: s3.bucket,
        Key: s3.prefix + upload.id,
      })
      const gone = { Bucket: s3.bucket, Key: s3.prefix + upload.id, UploadId: uploadId.UploadId }
      await notes.claimStorageId(upload.id, uploadId.UploadId ?? '')
      await s3.client.abortMultipartUpload(gone)
      expect(await contents(upload)).toBe(sha256(bytes))
      expect(await left()).toEqual(whole(upload))
    })

    it('tells an upload as lost whose multipart upload was aborted, at the next part and at the end', async () => {
      const bytes = bytesOf(2 * CELL)
      const upload = await filled(bytes)
      for (const { key, uploadId } of await s3.uploads())
        await s3.client.abortMultipartUpload({ Bucket: s3.bucket, Key: key, UploadId: uploadId })
      const { written } = await write({ ...upload, size: 3 * CELL }, 2 * CELL, bytes.subarray(0, CELL))
      expect(written.failure).toMatchObject({
        code: 'storage_lost',
        message: expect.stringMatching(/aborted/),
      })
      await expect(finish(upload)).rejects.toMatchObject({ code: 'storage_lost' })
    })

    it('tells an upload as lost whose piece is gone', async () => {
      const upload = uploadOf(2 * CELL, CELL)
      await put(upload, 0, bytesOf(1000))
      for (const { key } of await s3.objects()) await s3.client.deleteObject({ Bucket: s3.bucket, Key: key })
      const { written } = await write(upload, 1000, bytesOf(1000))
      expect(written.failure).toMatchObject({ code: 'storage_lost' })
    })

    it('tells an upload as lost whose bytes another store has', async () => {
      const upload = uploadOf(1000, CELL)
      notes.commit(writeOf(upload, 0, bytesOf(1000)), { bytes: 1000, failure: null })
      await expect(finish(upload)).rejects.toMatchObject({ code: 'storage_lost' })
    })

    it('reads a file of one chunk only as the object that was acknowledged', async () => {
      const upload = await filled(bytesOf(1000))
      await finish(upload)
      await s3.client.putObject({ Bucket: s3.bucket, Key: s3.prefix + upload.id, Body: bytesOf(1000, 9) })
      await expect(readAll(store, upload, 0, 1000)).rejects.toThrow('not there any more')
    })

    it('reads any range of a long file', async () => {
      const bytes = bytesOf(20 * MIB)
      const upload = await filled(bytes)
      await finish(upload)
      for (const [start, end] of [
        [0, 8 * MIB],
        [8 * MIB - 1, 8 * MIB + 1],
        [3, 20 * MIB - 5],
        [20 * MIB - 1, 20 * MIB],
      ] as const)
        expect(sha256(await readAll(store, upload, start, end))).toBe(sha256(bytes.subarray(start, end)))
    })

    it.each([
      ['parts and a piece', CELL + 1000],
      ['every cell', 2 * CELL],
      ['nothing', 0],
    ])('removes an upload of which there is %s, and no other', async (_what, sent) => {
      const bytes = bytesOf(2 * CELL)
      const other = await filled(bytesOf(10))
      const upload = uploadOf(bytes.length, CELL)
      for (const [position, cell] of cellsOf(bytes.subarray(0, sent), CELL)) await put(upload, position, cell)
      await s3.client.createMultipartUpload({ Bucket: s3.bucket, Key: s3.prefix + upload.id })
      await store.remove(notes.rowOf(upload))
      await store.remove(notes.rowOf(upload))
      expect(await left()).toEqual(whole(other))
    })

    it('drops a piece when it is told to, and nothing else', async () => {
      const upload = uploadOf(2 * CELL, CELL)
      const piece = await put(upload, 0, bytesOf(1000))
      const file = await filled(bytesOf(10))
      const object = notes.cellOf(file, 0)?.ref ?? ''
      store.discard?.(file, [object, 'part "x"', 'something else'])
      store.discard?.(upload, [piece.ref ?? ''])
      await expect.poll(left).toEqual({ objects: [file.id], uploads: 0 })
    })

    it('gives a URL that gives the bytes to whoever has it', async () => {
      const bytes = bytesOf(1000)
      const upload = await filled(bytes)
      const headers = {
        contentType: 'text/x',
        contentDisposition: 'attachment; filename="a b"',
        cacheControl: 'no-store',
      }
      const presigning = s3StoreOn(s3, notes, { presignedSeconds: 60 })
      const answer = await fetch((await presigning.presign?.(upload, headers)) ?? '')
      expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true)
      expect([answer.headers.get('content-type'), answer.headers.get('content-disposition')]).toEqual([
        'text/x',
        'attachment; filename="a b"',
      ])
      expect(store.presign).toBeUndefined()
    })
  })
}

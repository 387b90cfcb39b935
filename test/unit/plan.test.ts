import { describe, expect, it } from 'vitest'
import type { Upload } from '../../src/core/upload.ts'
import { planAppend, type AppendRequest } from '../../src/uploads/plan-append.ts'
import { planChunk } from '../../src/uploads/put-chunk.ts'
import { anUpload } from '../support/an-upload.ts'

const NOW = new Date('2030-01-01T00:00:00Z')
const MAX_UPLOAD = 1000

type State = Partial<Upload>
const COMPLETED: State = { status: 'COMPLETED', offset: 25, storedCells: 3 }
const FRESH: State = { status: 'INITIATED', offset: 0, storedCells: 0 }
const DEFERRED: State = { size: null }
const FINAL: State = { concat: 'final;/files/a /files/b' }

/** What stops a plan: its status and code. */
const refused = (status: number, code: string): Error => expect.objectContaining({ status, code })
const GONE = refused(410, 'gone')
const FORBIDDEN = refused(403, 'forbidden')
const LOCKED = refused(423, 'locked')
const MISMATCH = refused(409, 'offset_mismatch')
const CONFLICT = refused(409, 'conflict')
const TOO_LARGE = refused(413, 'payload_too_large')
const BAD = refused(400, 'bad_request')

describe('planAppend', () => {
  const plan = (state: State, request: Partial<AppendRequest> = {}) =>
    planAppend(
      anUpload(state),
      { offset: 12, declaredSize: null, bodyLength: null, ...request },
      MAX_UPLOAD,
      NOW,
    )

  it.each<[what: string, State, Partial<AppendRequest>, maxBytes: number, declares: number | null]>([
    ['a body at the offset', {}, { bodyLength: 5 }, 5, null],
    ['a body that ends with the file', {}, { bodyLength: 13 }, 13, null],
    ['a chunked body, up to the end of the file', {}, {}, 13, null],
    ['an empty body', {}, { bodyLength: 0 }, 0, null],
    ['the first body', FRESH, { offset: 0, bodyLength: 25 }, 25, null],
    [
      'an empty body on an empty upload',
      { ...COMPLETED, size: 0, offset: 0 },
      { offset: 0, bodyLength: 0 },
      0,
      null,
    ],
    ['a body at the offset, past an older appendOffset', { appendOffset: 3 }, { bodyLength: 5 }, 5, null],
    [
      'a body where the last PATCH ended, before cells that were there',
      { appendOffset: 3 },
      { offset: 3 },
      22,
      null,
    ],
    ['a whole rest where the last PATCH ended', { appendOffset: 3 }, { offset: 3, bodyLength: 22 }, 22, null],
    ['a PATCH that ended at 0', { appendOffset: 0 }, { offset: 0, bodyLength: 25 }, 25, null],
    ['an empty body at the end of a completed upload', COMPLETED, { offset: 25, bodyLength: 0 }, 0, null],
    ['a chunked body at the end of a completed upload, of no bytes', COMPLETED, { offset: 25 }, 0, null],
    ['a repeated last body', { ...COMPLETED, appendOffset: 20 }, { offset: 20, bodyLength: 5 }, 5, null],
    [
      'bytes within a repeated last body',
      { ...COMPLETED, appendOffset: 20 },
      { offset: 22, bodyLength: 3 },
      3,
      null,
    ],
    [
      'a repeated, empty body on a completed upload',
      { ...COMPLETED, appendOffset: 25 },
      { offset: 25 },
      0,
      null,
    ],
    ['a completed upload past its expiry', { ...COMPLETED, expiresAt: NOW }, { offset: 25 }, 0, null],
    ['a body on a deferred length, up to the longest file', DEFERRED, {}, MAX_UPLOAD - 12, null],
    [
      'a body that ends with the longest file',
      DEFERRED,
      { bodyLength: MAX_UPLOAD - 12 },
      MAX_UPLOAD - 12,
      null,
    ],
    ['a declaration', DEFERRED, { declaredSize: 25 }, 13, 25],
    ['a declaration with the last body', DEFERRED, { declaredSize: 25, bodyLength: 13 }, 13, 25],
    ['a declaration of what is stored', DEFERRED, { declaredSize: 12, bodyLength: 0 }, 0, 12],
    [
      'a declaration of the longest file',
      DEFERRED,
      { declaredSize: MAX_UPLOAD },
      MAX_UPLOAD - 12,
      MAX_UPLOAD,
    ],
    ['a declaration of 0', { ...FRESH, ...DEFERRED }, { offset: 0, declaredSize: 0, bodyLength: 0 }, 0, 0],
    ['a body on a partial upload', { concat: 'partial' }, { bodyLength: 13 }, 13, null],
    ['a repeated declaration, which is none', {}, { declaredSize: 25 }, 13, null],
  ])('lets %s in', (_what, state, request, maxBytes, declares) => {
    expect(plan(state, request)).toEqual({ maxBytes, declares })
  })

  it.each<[what: string, State, Partial<AppendRequest>, refusal: Error]>([
    ['at a stale offset', {}, { offset: 11 }, MISMATCH],
    ['past the offset', {}, { offset: 13 }, MISMATCH],
    ['at 0 where bytes are', {}, { offset: 0 }, MISMATCH],
    ['before where the last PATCH ended', { appendOffset: 3 }, { offset: 2 }, MISMATCH],
    ['between where the last PATCH ended and the offset', { appendOffset: 3 }, { offset: 4 }, MISMATCH],
    ['where the last PATCH ended, once that cell is freed', { appendOffset: 20 }, { offset: 20 }, MISMATCH],
    ['into a completed upload', COMPLETED, { offset: 24 }, MISMATCH],
    [
      'before the last body of a completed upload',
      { ...COMPLETED, appendOffset: 20 },
      { offset: 19 },
      MISMATCH,
    ],
    ['past the end of a completed upload', { ...COMPLETED, appendOffset: 20 }, { offset: 26 }, MISMATCH],
    ['with a byte more than the file has', {}, { bodyLength: 14 }, TOO_LARGE],
    ['with a byte to a completed upload', COMPLETED, { offset: 25, bodyLength: 1 }, TOO_LARGE],
    ['with too many bytes behind', { appendOffset: 3 }, { offset: 3, bodyLength: 23 }, TOO_LARGE],
    ['with a byte more than the longest file', DEFERRED, { bodyLength: MAX_UPLOAD - 11 }, TOO_LARGE],
    ['with a byte more than it declares', DEFERRED, { declaredSize: 25, bodyLength: 14 }, TOO_LARGE],
    [
      'with a byte more than the longest file declared',
      DEFERRED,
      { declaredSize: MAX_UPLOAD + 1 },
      TOO_LARGE,
    ],
    ['with less declared than is stored', DEFERRED, { declaredSize: 11 }, BAD],
    ['with another length declared before', {}, { declaredSize: 26 }, BAD],
    ['with another length on a completed upload', COMPLETED, { offset: 25, declaredSize: 24 }, BAD],
    ['at the moment of expiry', { expiresAt: NOW }, {}, GONE],
    ['after expiry, before its first byte', { ...FRESH, expiresAt: NOW }, { offset: 0 }, GONE],
    ['after expiry, at a wrong offset too', { expiresAt: NOW }, { offset: 0 }, GONE],
    ['to an aborted upload', { status: 'ABORTED' }, {}, GONE],
    ['to a failed upload', { status: 'FAILED' }, {}, GONE],
    ['to a failed upload, at a wrong offset too', { status: 'FAILED' }, { offset: 0 }, GONE],
    ['to an upload that is being completed', { status: 'FINALIZING', offset: 25 }, { offset: 25 }, LOCKED],
    ['to a final upload', { ...FINAL, ...COMPLETED }, { offset: 25, bodyLength: 0 }, FORBIDDEN],
    ['to a final upload that is being made', { ...FINAL, status: 'FINALIZING' }, {}, FORBIDDEN],
    [
      'to an upload that is being completed past its expiry',
      { status: 'FINALIZING', expiresAt: NOW },
      {},
      LOCKED,
    ],
  ])('refuses a body %s', (_what, state, request, refusal) => {
    expect(() => plan(state, request)).toThrow(refusal)
  })

  it('tells a client how long a file may be that declares too much', () => {
    expect(() => plan(DEFERRED, { declaredSize: MAX_UPLOAD + 1 })).toThrow(
      expect.objectContaining({ headers: { 'Tus-Max-Size': String(MAX_UPLOAD) } }),
    )
  })

  it('counts up to 2^53-1', () => {
    const most = Number.MAX_SAFE_INTEGER
    const upload = anUpload({ size: most, offset: most - 1, chunkSize: 2 ** 40 })
    const request = { offset: most - 1, declaredSize: null }
    expect(planAppend(upload, { ...request, bodyLength: 1 }, most, NOW).maxBytes).toBe(1)
    expect(() => planAppend(upload, { ...request, bodyLength: 2 }, most, NOW)).toThrow(TOO_LARGE)
  })
})

describe('planChunk', () => {
  const plan = (state: State, index: number, announced: number | null) =>
    planChunk(anUpload(state), index, announced, MAX_UPLOAD, NOW)

  it.each<[what: string, State, index: number, announced: number | null, length: number]>([
    ['the first chunk', FRESH, 0, 10, 10],
    ['a chunk in the middle', {}, 1, 10, 10],
    ['the short last chunk', {}, 2, 5, 5],
    ['a whole last chunk', { size: 30 }, 2, 10, 10],
    ['a chunked body, of a chunk', {}, 1, null, 10],
    ['a chunked body, of the last chunk', {}, 2, null, 5],
    ['a chunk behind the offset, which is compared', {}, 0, 10, 10],
    ['a chunk of an upload without a length, which is whole', DEFERRED, 7, 10, 10],
  ])('lets %s in', (_what, state, index, announced, length) => {
    expect(plan(state, index, announced)).toBe(length)
  })

  it.each<[what: string, State, index: number, announced: number | null, refusal: Error]>([
    ['behind the last', {}, 3, 10, BAD],
    ['far behind the last', {}, Number.MAX_SAFE_INTEGER, 10, BAD],
    ['behind the last of a file of whole chunks', { size: 30 }, 3, 10, BAD],
    ['of an empty file', { ...FRESH, size: 0 }, 0, 10, BAD],
    ['without a byte', {}, 1, 0, BAD],
    ['of an empty file, without a byte', { ...FRESH, size: 0 }, 0, 0, BAD],
    ['that is a byte short', {}, 1, 9, BAD],
    ['that is a byte too long', {}, 1, 11, TOO_LARGE],
    ['that is a byte short, the last', {}, 2, 4, BAD],
    ['that is as long as the others, the last', {}, 2, 10, TOO_LARGE],
    ['that is short while the length is deferred', DEFERRED, 2, 5, BAD],
    ['that is too long while the length is deferred', DEFERRED, 2, 11, TOO_LARGE],
    ['past the longest file while the length is deferred', DEFERRED, MAX_UPLOAD / 10, 10, BAD],
    ['far past it', DEFERRED, 2 ** 45, 10, BAD],
    ['of a completed upload', COMPLETED, 0, 10, CONFLICT],
    ['of an upload that is being completed', { status: 'FINALIZING' }, 0, 10, CONFLICT],
    ['of a failed upload', { status: 'FAILED' }, 0, 10, CONFLICT],
    ['of an aborted upload', { status: 'ABORTED' }, 0, 10, GONE],
    ['at the moment of expiry', { expiresAt: NOW }, 0, 10, GONE],
    ['after expiry, before the first byte', { ...FRESH, expiresAt: NOW }, 0, 10, GONE],
    ['of a completed upload, with a wrong index too', COMPLETED, 9, 10, CONFLICT],
  ])('refuses a chunk %s', (_what, state, index, announced, refusal) => {
    expect(() => plan(state, index, announced)).toThrow(refusal)
  })

  it('names what a client may do about it: the count of chunks, and both lengths', () => {
    expect(() => plan({}, 3, 10)).toThrow(/3 chunks/)
    expect(() => plan({}, 1, 9)).toThrow(/10 bytes, not 9/)
    expect(() => plan({}, 1, 11)).toThrow(/10 bytes/)
    expect(() => plan({}, 1, 0)).toThrow(/empty/)
  })

  it('shows an upload that is being completed as IN_PROGRESS, the status that clients know', () => {
    expect(() => plan({ status: 'FINALIZING' }, 0, 10)).toThrow(/IN_PROGRESS/)
    expect(() => plan({ status: 'FINALIZING' }, 0, 10)).not.toThrow(/FINALIZING/)
  })

  it('has the last bytes of a file of 2^53-1', () => {
    const most = Number.MAX_SAFE_INTEGER
    expect(plan({ size: most, chunkSize: 2 ** 40 }, 2 ** 13 - 1, null)).toBe(2 ** 40 - 1)
  })
})

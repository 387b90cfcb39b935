import { expect } from 'vitest'
import { sha256 } from '../../support/bytes.ts'
import type { Answer } from '../../support/client.ts'
import {
  cellOf,
  checksumHolds,
  completesByItself,
  contentOf,
  countOf,
  isFull,
  isWhole,
  placeOf,
  prefixOf,
  type Model,
  type Upload,
} from './model.ts'
import { headOf, type World } from './world.ts'

/** Looks at every upload as all dialects tell it, and compares it with what the model knows. */
export async function observeAll(model: Model, world: World): Promise<void> {
  for (const upload of model.uploads) await observe(upload, world)
}

/** Waits for what was broken off, so that the upload stands still. */
export async function settle(upload: Upload, world: World): Promise<void> {
  if (upload.pending.length === 0) return
  for (const requestId of upload.pending) await world.isOver(requestId)
  upload.pending.splice(0)
  await observe(upload, world)
}

/**
 * HEAD, missing-chunks and the upload itself must agree with the model; what the model did not know
 * for sure it learns from them. While a broken request may still be at work, only bounds hold.
 */
export async function observe(upload: Upload, world: World): Promise<void> {
  const { id, name } = upload
  const head = await headOf(world, id)
  const missing = await world.call('GET', `/v1/uploads/${id}/missing-chunks`)
  const shown = await world.call('GET', `/v1/uploads/${id}`)
  expect([head.status, missing.status, shown.status], `${name}: HEAD, missing-chunks and GET`).toEqual([
    200, 200, 200,
  ])
  const offset = Number(head.headers.get('upload-offset'))
  const indexes: number[] = missing.json.missing_chunk_indexes
  world.trace.push(
    `    ${name}: offset ${offset} of ${shown.json.file_size}, missing [${indexes.join()}], ${shown.json.status}${upload.pending.length > 0 ? ', at work' : ''}`,
  )
  const quiet = upload.pending.length === 0
  if (quiet) {
    learnSize(upload, head, shown)
    learnCompletion(upload, shown.json.status)
  }
  expect(offset, `${name}: no acknowledged byte is lost`).toBeGreaterThanOrEqual(prefixOf(upload, 'least'))
  expect(offset, `${name}: nothing counts that was not sent`).toBeLessThanOrEqual(prefixOf(upload, 'most'))
  compareMissing(upload, indexes)
  if (upload.kind !== 'final') learnCells(upload, offset, indexes, quiet)
  if (!quiet) return
  if (upload.size === null) learnFurthest(upload, shown.json.uploaded_chunks)

  expect(offset, `${name}: HEAD and missing-chunks tell the same`).toBe(prefixOf(upload, 'least'))
  expect(shown.json, `${name}: as it is shown`).toMatchObject({
    offset,
    file_size: upload.size,
    chunk_size: upload.chunkSize,
    total_chunks: countOf(upload),
    status: missing.json.status,
  })
  const stored = storedCount(upload, indexes)
  expect(shown.json.uploaded_chunks, `${name}: uploaded_chunks`).toBeGreaterThanOrEqual(stored.least)
  expect(shown.json.uploaded_chunks, `${name}: uploaded_chunks`).toBeLessThanOrEqual(stored.most)
  expect(shown.json.status === 'COMPLETED', `${name}: completed exactly when it has to be`).toBe(
    upload.completed,
  )
  if (!upload.begun && !upload.completed) expect(shown.json.status, `${name}: its status`).toBe('INITIATED')
  if (offset > 0 && !upload.completed) expect(shown.json.status, `${name}: its status`).toBe('IN_PROGRESS')
  if (upload.completed) await compareDownload(upload, world)
}

/** The whole file, by its hash; and the bytes themselves where they differ, to see where. */
async function compareDownload(upload: Upload, world: World): Promise<void> {
  const bytes = await world.download(`/v1/uploads/${upload.id}/download`)
  const expected = contentOf(upload)
  if (sha256(bytes) !== sha256(expected)) expect(bytes, `${upload.name}: its bytes`).toEqual(expected)
}

function learnSize(upload: Upload, head: Answer, shown: Answer): void {
  const told = shown.json.file_size as number | null
  const allowed = upload.maybeSize === null ? [upload.size] : [upload.size, upload.maybeSize]
  expect(allowed, `${upload.name}: its length`).toContain(told)
  expect(head.headers.get('upload-length')).toBe(told === null ? null : String(told))
  expect(head.headers.get('upload-defer-length')).toBe(told === null ? '1' : null)
  upload.maybeSize = null
  upload.size = told
}

/** A COMPLETED upload may be one whose last request is unknown; then every byte of it is there. */
function learnCompletion(upload: Upload, status: string): void {
  const { name } = upload
  if (upload.kind === 'final') return
  if (completesByItself(upload) && isFull(upload)) upload.completed = true
  if (status === 'COMPLETED' && !upload.completed) {
    const may = completesByItself(upload) || upload.mayComplete
    expect(may && isFull(upload, 'most'), `${name}: COMPLETED only with every byte`).toBe(true)
    const count = countOf(upload) ?? 0
    for (let index = 0; index < count; index++) {
      const { length } = placeOf(upload, index)
      upload.cells.set(index, { least: length, most: length })
    }
    expect(checksumHolds(upload), `${name}: COMPLETED only with the announced SHA-256`).toBe(true)
    upload.completed = true
  }
  upload.mayComplete = false
}

/** Cells that were acknowledged are never missing, cells that were never sent always are. */
function compareMissing(upload: Upload, missing: number[]): void {
  const known = knownCount(upload)
  expect(missing, `${upload.name}: missing-chunks is ascending`).toEqual(missing.toSorted((a, b) => a - b))
  const told = new Set(missing)
  for (let index = 0; index < known.least; index++) {
    const what = `${upload.name}: cell ${index}`
    if (upload.kind === 'final' || isWhole(upload, index))
      expect(told.has(index), `${what} was acknowledged`).toBe(false)
    else if (!isWhole(upload, index, 'most')) expect(told.has(index), `${what} never came`).toBe(true)
  }
  if (upload.maybeSize !== null) return
  for (const index of missing) expect(index, `${upload.name}: a missing chunk`).toBeLessThan(known.most)
}

/** How many cells missing-chunks tells of: while the length is deferred, up to the furthest whole one. */
function knownCount(upload: Upload): { least: number; most: number } {
  const count = countOf(upload)
  if (count !== null) return { least: count, most: count }
  const end = (which: 'least' | 'most') =>
    Math.max(
      0,
      ...[...upload.cells.keys()].filter((index) => isWhole(upload, index, which)).map((index) => index + 1),
    )
  return { least: end('least'), most: end('most') }
}

/** While the length is deferred, nothing tells of cells behind the last gap but the furthest whole one. */
function learnCells(upload: Upload, offset: number, missing: number[], quiet: boolean): void {
  const told = new Set(missing)
  const known = Math.max(countOf(upload) ?? 0, (missing.at(-1) ?? -1) + 1, knownCount(upload).least)
  for (const index of new Set([...upload.cells.keys(), ...Array.from({ length: known }, (_, i) => i)])) {
    const { start, end, length } = placeOf(upload, index)
    const cell = { ...cellOf(upload, index) }
    if (offset >= end) cell.least = length
    else if (offset >= start) cell.least = Math.max(cell.least, offset - start)
    if (quiet && offset < end && offset >= start) cell.most = offset - start
    if (quiet && index < known) {
      if (told.has(index)) cell.most = Math.min(cell.most, length - 1)
      else cell.least = length
    }
    cell.most = Math.max(cell.most, cell.least)
    if (cell.most > 0) upload.cells.set(index, cell)
    else upload.cells.delete(index)
  }
}

/** While the length is deferred, missing-chunks ends before the furthest cell: only their count tells of that one. */
function learnFurthest(upload: Upload, uploadedChunks: number): void {
  const indexes = [...upload.cells.keys()]
  const unsure = indexes.filter((index) => !isWhole(upload, index) && isWhole(upload, index, 'most'))
  const whole = uploadedChunks - indexes.filter((index) => isWhole(upload, index)).length
  if (whole !== 0 && whole !== unsure.length) return
  for (const index of unsure) {
    const { length } = placeOf(upload, index)
    const { least } = cellOf(upload, index)
    upload.cells.set(index, whole > 0 ? { least: length, most: length } : { least, most: length - 1 })
  }
}

function storedCount(upload: Upload, missing: number[]): { least: number; most: number } {
  const count = countOf(upload)
  if (count !== null) return { least: count - missing.length, most: count - missing.length }
  const whole = (which: 'least' | 'most') =>
    [...upload.cells.keys()].filter((index) => isWhole(upload, index, which)).length
  return { least: whole('least'), most: whole('most') }
}

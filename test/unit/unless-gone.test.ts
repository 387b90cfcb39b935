import { expect, test } from 'vitest'
import { HttpError } from '../../src/core/errors.ts'
import type { Upload } from '../../src/core/upload.ts'
import { unlessGone } from '../../src/http/unless-gone.ts'

const there = { get: async () => ({}) as Upload }
const deleted = { get: () => Promise.reject(new HttpError('not_found')) }
const failing = async (reason: Error): Promise<void> => {
  throw reason
}

test('a file that was deleted before it could be opened is 404', async () => {
  await expect(unlessGone(deleted, 'id', failing(new Error('ENOENT')))).rejects.toThrow(
    new HttpError('not_found'),
  )
  await expect(unlessGone(deleted, 'id', failing(new HttpError('unavailable')))).rejects.toThrow(
    new HttpError('not_found'),
  )
})

test('a file that is missing though its upload is there stays a failure', async () => {
  await expect(unlessGone(there, 'id', failing(new Error('ENOENT')))).rejects.toThrow('ENOENT')
})

test('a refusal stays what it is, and nothing is looked up for it', async () => {
  const refusal = new HttpError('range_not_satisfiable')
  await expect(unlessGone(deleted, 'id', failing(refusal))).rejects.toThrow(refusal)
})

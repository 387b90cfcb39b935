import type { Upload } from '../../src/core/upload.ts'

const AT = new Date('2030-01-01T00:00:00Z')

/** A row for what computes with one: 25 bytes in cells of 10, of which 12 are there; it expires a millisecond later. */
export const anUpload = (fields: Partial<Upload> = {}): Upload => ({
  id: '00000000-0000-4000-8000-000000000000',
  ownerId: 'ada',
  dialect: 'tus',
  fileName: 'a',
  size: 25,
  chunkSize: 10,
  status: 'IN_PROGRESS',
  contentType: null,
  metadata: {},
  concat: null,
  checksumSha256: null,
  offset: 12,
  appendOffset: null,
  storedCells: 1,
  storageId: null,
  staged: false,
  createdAt: AT,
  updatedAt: AT,
  expiresAt: new Date(AT.getTime() + 1),
  ...fields,
})

import { HttpError } from '../core/errors.ts'
import { planChunkSize } from '../core/geometry.ts'
import type { Upload } from '../core/upload.ts'
import { expiryFrom, type Deps } from './deps.ts'

export interface Create extends Pick<
  Upload,
  'id' | 'ownerId' | 'dialect' | 'fileName' | 'size' | 'contentType' | 'metadata' | 'checksumSha256'
> {
  /** the cell size that the client asks for; null for ours */
  chunkSize: number | null
}

/**
 * Creates an upload: one row, no file. An empty file of tus is complete at once.
 * @throws {HttpError} payload_too_large 413, unprocessable 422
 */
export const createUpload =
  (deps: Deps) =>
  async (create: Create): Promise<Upload> => {
    const { ledger, meter, limits } = deps
    if (create.size !== null && create.size > limits.maxUploadBytes)
      throw new HttpError('payload_too_large', {
        detail: `The file is longer than the ${limits.maxUploadBytes} bytes that this server takes.`,
        headers: { 'Tus-Max-Size': String(limits.maxUploadBytes) },
      })
    const now = deps.now()
    const expiresAt = expiryFrom(now, deps)
    const chunkSize = planChunkSize(create.size, create.chunkSize, limits)
    const upload = await ledger.create({ ...create, chunkSize, createdAt: now, expiresAt })
    meter.uploadCreated(create.dialect)
    if (create.size !== 0 || create.dialect !== 'tus') return upload

    const done = await ledger.commit({
      id: create.id,
      cells: [],
      appendOffset: null,
      at: now,
      expiresAt,
      whenFull: 'COMPLETED',
    })
    if (done.ok && done.reached === 'COMPLETED') meter.uploadCompleted(create.dialect)
    return done.upload ?? upload
  }

import { byBytes } from './call.ts'
import type { Files } from './files.ts'
import type { Bucket, State } from './state.ts'

/** An object as a test looks at it. */
export interface ObjectView {
  key: string
  size: number
  etag: string
  /** content-type, x-amz-meta-… as they were given */
  metadata: Record<string, string>
  tags: Record<string, string>
  encryption: { algorithm: string; keyId?: string } | null
  storageClass: string
}

/** A multipart upload in progress as a test looks at it. */
export interface UploadView {
  key: string
  uploadId: string
  parts: { partNumber: number; size: number; etag: string }[]
}

/** What lies in a bucket, without a request. */
export interface Views {
  /** those whose keys begin so, in order; ETags without quotes */
  objects(prefix?: string): ObjectView[]
  uploads(prefix?: string): UploadView[]
  /** the bytes of an object; null when there is none */
  read(key: string): Promise<Buffer | null>
  /** Aborts a multipart upload behind its owner's back, as a lifecycle rule does. */
  abortUpload(uploadId: string): void
}

export function viewsOf(state: State, files: Files, bucket: string): Views {
  const lookedAt = (): Bucket => {
    const found = state.buckets.get(bucket)
    if (!found) throw new Error(`there is no bucket "${bucket}"`)
    return found
  }
  return {
    objects: (prefix = '') =>
      [...lookedAt().objects.values()]
        .filter(({ key }) => key.startsWith(prefix))
        .toSorted((a, b) => byBytes(a.key, b.key))
        .map(({ key, size, etag, attributes: { metadata, tags, encryption, storageClass } }) => ({
          key,
          size,
          etag,
          metadata,
          tags: Object.fromEntries(tags.map(({ Key, Value }) => [Key, Value])),
          encryption,
          storageClass,
        })),
    uploads: (prefix = '') =>
      [...lookedAt().uploads.values()]
        .filter(({ key }) => key.startsWith(prefix))
        .toSorted((a, b) => byBytes(a.key, b.key) || byBytes(a.id, b.id))
        .map(({ key, id, parts }) => ({
          key,
          uploadId: id,
          parts: [...parts.values()]
            .toSorted((a, b) => a.number - b.number)
            .map(({ number, size, etag }) => ({ partNumber: number, size, etag })),
        })),
    async read(key) {
      const object = lookedAt().objects.get(key)
      if (!object) return null
      const pieces: Buffer[] = []
      for await (const piece of files.read(object.files, 0, object.size)) pieces.push(piece)
      return Buffer.concat(pieces)
    },
    abortUpload(uploadId) {
      lookedAt()
      files.remove(state.change({ type: 'upload aborted', bucket, uploadId }))
    },
  }
}

import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import type { Attributes } from './attributes.ts'
import type { Algorithm, Checksums } from './checksums.ts'
import type { StoredFile } from './files.ts'

export interface StoredObject {
  key: string
  size: number
  etag: string
  modifiedMs: number
  attributes: Attributes
  checksums: Checksums
  /** its bytes, one behind the other */
  files: StoredFile[]
}

export interface Part {
  number: number
  size: number
  etag: string
  modifiedMs: number
  checksums: Checksums
  file: StoredFile
}

export interface MultipartUpload {
  id: string
  key: string
  initiatedMs: number
  attributes: Attributes
  /** the checksum that every part must have */
  algorithm: Algorithm | null
  parts: Map<number, Part>
}

export interface Bucket {
  name: string
  createdMs: number
  objects: Map<string, StoredObject>
  uploads: Map<string, MultipartUpload>
  /** what Complete answered, by upload */
  completed: Map<string, string>
}

/** Everything that can happen to the state. */
export type Change =
  | { type: 'bucket created'; bucket: string; atMs: number }
  | { type: 'bucket deleted'; bucket: string }
  | { type: 'object put'; bucket: string; object: StoredObject }
  | { type: 'object deleted'; bucket: string; key: string }
  | { type: 'upload created'; bucket: string; upload: Omit<MultipartUpload, 'parts'> }
  | { type: 'part put'; bucket: string; uploadId: string; part: Part }
  | { type: 'upload completed'; bucket: string; uploadId: string; object: StoredObject; answer: string }
  | { type: 'upload aborted'; bucket: string; uploadId: string }

export interface State {
  readonly buckets: ReadonlyMap<string, Bucket>
  /**
   * Makes the change and notes it down.
   * @returns the files that nothing refers to any more
   */
  change(change: Change): StoredFile[]
}

/** The state that the journal tells of; every change becomes another line of it. */
export function openState(journal: string): State {
  const buckets = new Map<string, Bucket>()
  if (existsSync(journal))
    for (const line of readFileSync(journal, 'utf8').split('\n'))
      if (line !== '') apply(buckets, JSON.parse(line) as Change)
  return {
    buckets,
    change(change) {
      appendFileSync(journal, `${JSON.stringify(change)}\n`)
      return apply(buckets, change)
    },
  }
}

/** All files that the state refers to. */
export const filesOf = (buckets: State['buckets']): StoredFile[] =>
  Array.from(buckets.values(), (bucket) => [
    ...Array.from(bucket.objects.values(), ({ files }) => files),
    ...Array.from(bucket.uploads.values(), partFiles),
  ]).flat(2)

const partFiles = ({ parts }: MultipartUpload) => Array.from(parts.values(), ({ file }) => file)

function apply(buckets: Map<string, Bucket>, change: Change): StoredFile[] {
  if (change.type === 'bucket created') {
    const empty = { objects: new Map(), uploads: new Map(), completed: new Map() }
    buckets.set(change.bucket, { name: change.bucket, createdMs: change.atMs, ...empty })
    return []
  }
  const bucket = buckets.get(change.bucket)
  if (!bucket) throw new Error(`no bucket ${change.bucket} for "${change.type}"`)
  if (change.type !== 'bucket deleted') return applyIn(bucket, change)
  buckets.delete(change.bucket)
  return filesOf(new Map([[change.bucket, bucket]]))
}

type BucketChange = Exclude<Change, { type: 'bucket created' | 'bucket deleted' }>

function applyIn(bucket: Bucket, change: BucketChange): StoredFile[] {
  const { objects, uploads, completed } = bucket
  switch (change.type) {
    case 'object put':
      return putObject(bucket, change.object)
    case 'object deleted': {
      const { files } = taken(objects, change.key)
      return files
    }
    case 'upload created':
      uploads.set(change.upload.id, { ...change.upload, parts: new Map() })
      return []
    case 'part put': {
      const { parts } = present(uploads, change.uploadId)
      const before = parts.get(change.part.number)
      parts.set(change.part.number, change.part)
      return before ? [before.file] : []
    }
    case 'upload completed': {
      const upload = taken(uploads, change.uploadId)
      completed.set(change.uploadId, change.answer)
      const kept = new Set(change.object.files.map(({ name }) => name))
      const left = partFiles(upload).filter(({ name }) => !kept.has(name))
      return [...left, ...putObject(bucket, change.object)]
    }
    case 'upload aborted':
      return partFiles(taken(uploads, change.uploadId))
  }
}

function putObject({ objects }: Bucket, object: StoredObject): StoredFile[] {
  const before = objects.get(object.key)
  objects.set(object.key, object)
  const kept = new Set(object.files.map(({ name }) => name))
  return (before?.files ?? []).filter(({ name }) => !kept.has(name))
}

function present<T>(map: Map<string, T>, key: string): T {
  const value = map.get(key)
  if (value === undefined) throw new Error(`nothing under ${key}`)
  return value
}

function taken<T>(map: Map<string, T>, key: string): T {
  const value = present(map, key)
  map.delete(key)
  return value
}

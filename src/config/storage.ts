import { MAX_CELLS } from '../core/geometry.ts'
import type { Values } from './variables.ts'

export type Storage = { readonly backend: 'local'; readonly root: string } | S3Config

/** A bucket, and how it is used. What is null is left to the SDK or to the bucket. */
export interface S3Config {
  readonly backend: 's3' | 'r2'
  readonly bucket: string
  readonly region: string
  readonly endpoint: string | null
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } | null
  readonly forcePathStyle: boolean
  readonly keyPrefix: string
  readonly encryption: { readonly algorithm: 'AES256' | 'aws:kms'; readonly keyId: string | null } | null
  readonly storageClass: string | null
  readonly partBufferBytes: number
  readonly maxRetries: number
  /** null: downloads go through us */
  readonly presignedSeconds: number | null
}

const orNull = (text: string): string | null => text || null

export function storageOf(v: Values): Storage {
  if (v.STORAGE_BACKEND === 'local') return { backend: 'local', root: v.STORAGE_ROOT }
  const shared = {
    keyPrefix: v.S3_KEY_PREFIX,
    encryption: v.S3_SSE ? { algorithm: v.S3_SSE, keyId: orNull(v.S3_SSE_KMS_KEY_ID) } : null,
    storageClass: orNull(v.S3_STORAGE_CLASS),
    partBufferBytes: v.S3_PART_BUFFER_BYTES,
    maxRetries: v.MAX_RETRIES,
    presignedSeconds: v.DOWNLOAD_REDIRECT === 'presigned' ? v.PRESIGNED_URL_SECONDS : null,
  }
  if (v.STORAGE_BACKEND === 'r2')
    return {
      ...shared,
      backend: 'r2',
      bucket: v.R2_BUCKET,
      region: 'auto',
      endpoint: v.R2_ENDPOINT_URL || `https://${v.R2_ACCOUNT_ID}.r2.cloudflarestorage.com`,
      credentials: { accessKeyId: v.R2_ACCESS_KEY_ID, secretAccessKey: v.R2_SECRET_ACCESS_KEY },
      forcePathStyle: true,
    }
  const credentials = { accessKeyId: v.S3_ACCESS_KEY_ID, secretAccessKey: v.S3_SECRET_ACCESS_KEY }
  return {
    ...shared,
    backend: 's3',
    bucket: v.S3_BUCKET,
    region: v.AWS_REGION,
    endpoint: orNull(v.S3_ENDPOINT_URL),
    credentials: v.S3_ACCESS_KEY_ID ? credentials : null,
    forcePathStyle: v.S3_FORCE_PATH_STYLE,
  }
}

/** What is missing for the storage that was chosen, or does not go with it. */
export function storageProblems(v: Values): string[] {
  if (v.STORAGE_BACKEND === 'local')
    return v.DOWNLOAD_REDIRECT === 'off'
      ? []
      : ['DOWNLOAD_REDIRECT must be off when STORAGE_BACKEND is local']
  const longestFile = MAX_CELLS * v.S3_PART_BUFFER_BYTES
  const problems: [boolean, string][] = [
    [v.CHUNK_SIZE_BYTES > v.S3_PART_BUFFER_BYTES, 'CHUNK_SIZE_BYTES must be at most S3_PART_BUFFER_BYTES'],
    [
      v.MAX_UPLOAD_BYTES > longestFile,
      `MAX_UPLOAD_BYTES must be at most ${MAX_CELLS} times S3_PART_BUFFER_BYTES`,
    ],
    [
      v.S3_SSE_KMS_KEY_ID !== '' && v.S3_SSE !== 'aws:kms',
      'S3_SSE must be aws:kms when S3_SSE_KMS_KEY_ID is set',
    ],
    ...(v.STORAGE_BACKEND === 'r2' ? r2Problems(v) : s3Problems(v)),
  ]
  return problems.flatMap(([wrong, words]) => (wrong ? [words] : []))
}

const s3Problems = (v: Values): [boolean, string][] => [
  [v.S3_BUCKET === '', 'S3_BUCKET must be set when STORAGE_BACKEND is s3'],
  [
    (v.S3_ACCESS_KEY_ID === '') !== (v.S3_SECRET_ACCESS_KEY === ''),
    'S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY must be set together',
  ],
]

const r2Problems = (v: Values): [boolean, string][] => [
  [v.R2_BUCKET === '', 'R2_BUCKET must be set when STORAGE_BACKEND is r2'],
  [v.R2_ACCESS_KEY_ID === '', 'R2_ACCESS_KEY_ID must be set when STORAGE_BACKEND is r2'],
  [v.R2_SECRET_ACCESS_KEY === '', 'R2_SECRET_ACCESS_KEY must be set when STORAGE_BACKEND is r2'],
  [
    v.R2_ACCOUNT_ID === '' && v.R2_ENDPOINT_URL === '',
    'R2_ACCOUNT_ID or R2_ENDPOINT_URL must be set when STORAGE_BACKEND is r2',
  ],
  [v.S3_SSE !== '', 'S3_SSE must not be set when STORAGE_BACKEND is r2: R2 encrypts everything itself'],
]

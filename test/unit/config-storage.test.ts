import { describe, expect, it } from 'vitest'
import { parseConfig } from '../../src/config/config.ts'
import type { S3Config } from '../../src/config/storage.ts'

type Env = Record<string, string>

const S3: Env = { STORAGE_BACKEND: 's3', S3_BUCKET: 'films' }
const R2: Env = {
  STORAGE_BACKEND: 'r2',
  R2_BUCKET: 'films',
  R2_ACCOUNT_ID: '0123abcd',
  R2_ACCESS_KEY_ID: 'id',
  R2_SECRET_ACCESS_KEY: 'secret',
}

const storageOf = (env: Env) => parseConfig(env).storage as S3Config

function complaints(env: Env): string[] {
  try {
    parseConfig(env)
  } catch (error) {
    return (error as Error).message.split('\n')
  }
  return []
}

it('S3 needs a bucket, and has everything else by itself', () => {
  expect(storageOf(S3)).toEqual({
    backend: 's3',
    bucket: 'films',
    region: 'us-east-1',
    endpoint: null,
    credentials: null,
    forcePathStyle: false,
    keyPrefix: 'uploads/',
    encryption: null,
    storageClass: null,
    partBufferBytes: 50_331_648,
    maxRetries: 3,
    presignedSeconds: null,
  })
})

it('R2 is S3 at the address of the account', () => {
  expect(storageOf(R2)).toEqual({
    ...storageOf(S3),
    backend: 'r2',
    region: 'auto',
    endpoint: 'https://0123abcd.r2.cloudflarestorage.com',
    credentials: { accessKeyId: 'id', secretAccessKey: 'secret' },
    forcePathStyle: true,
  })
})

it('R2 may be somewhere else, and needs no account then', () => {
  const { R2_ACCOUNT_ID: _, ...rest } = R2
  const endpoint = 'https://0123abcd.eu.r2.cloudflarestorage.com'
  expect(storageOf({ ...rest, R2_ENDPOINT_URL: endpoint }).endpoint).toBe(endpoint)
})

describe('a variable of S3', () => {
  it.each<[string, string, keyof S3Config, unknown]>([
    ['AWS_REGION', 'eu-central-1', 'region', 'eu-central-1'],
    ['S3_ENDPOINT_URL', 'http://minio:9000', 'endpoint', 'http://minio:9000'],
    ['S3_FORCE_PATH_STYLE', 'true', 'forcePathStyle', true],
    ['S3_FORCE_PATH_STYLE', '0', 'forcePathStyle', false],
    ['S3_KEY_PREFIX', 'a/b', 'keyPrefix', 'a/b'],
    ['S3_SSE', 'AES256', 'encryption', { algorithm: 'AES256', keyId: null }],
    ['S3_SSE', 'aws:kms', 'encryption', { algorithm: 'aws:kms', keyId: null }],
    ['S3_STORAGE_CLASS', 'STANDARD_IA', 'storageClass', 'STANDARD_IA'],
    ['S3_PART_BUFFER_BYTES', '8388608', 'partBufferBytes', 8_388_608],
    ['MAX_RETRIES', '0', 'maxRetries', 0],
    ['DOWNLOAD_REDIRECT', 'presigned', 'presignedSeconds', 300],
  ])('%s takes %s', (name, text, key, value) => {
    expect(storageOf({ ...S3, [name]: text })[key]).toEqual(value)
  })

  it.each<[string, string[]]>([
    ['STORAGE_BACKEND', ['S3', 'gcs', 'disk']],
    ['S3_BUCKET', ['a', 'a/b', 'a b', 's3://films']],
    ['AWS_REGION', ['EU', 'eu central']],
    ['S3_ENDPOINT_URL', ['minio:9000', 'ftp://minio', 'https://user@minio']],
    ['S3_FORCE_PATH_STYLE', ['yes']],
    ['S3_KEY_PREFIX', ['/a', 'a//b', 'a b', '../a', 'a/../b/', './a', 'ä']],
    ['S3_SSE', ['aes256', 'kms']],
    ['S3_STORAGE_CLASS', ['standard', 'A B']],
    ['S3_PART_BUFFER_BYTES', ['8388607', '-1', '128M']],
    ['MAX_RETRIES', ['-1', '101', '1.5']],
    ['DOWNLOAD_REDIRECT', ['on', 'true']],
    ['PRESIGNED_URL_SECONDS', ['0', '604801']],
    ['R2_ACCOUNT_ID', ['a.b', 'https://x']],
    ['R2_ENDPOINT_URL', ['r2']],
  ])('%s refuses the start in one line for what it may not be', (name, bad) => {
    const told = bad.map((text) => complaints({ ...S3, [name]: text }))
    expect(told).toEqual(bad.map(() => [expect.stringMatching(new RegExp(`^${name} must be `))]))
  })

  it('sets the key of KMS beside the algorithm', () => {
    const env = { ...S3, S3_SSE: 'aws:kms', S3_SSE_KMS_KEY_ID: 'alias/films' }
    expect(storageOf(env).encryption).toEqual({ algorithm: 'aws:kms', keyId: 'alias/films' })
  })

  it('sets credentials in pairs', () => {
    const env = { ...S3, S3_ACCESS_KEY_ID: 'id', S3_SECRET_ACCESS_KEY: 'secret' }
    expect(storageOf(env).credentials).toEqual({ accessKeyId: 'id', secretAccessKey: 'secret' })
  })

  it('is left alone while bytes go to the disk', () => {
    expect(complaints({ S3_SSE_KMS_KEY_ID: 'x', S3_ACCESS_KEY_ID: 'x', MAX_RETRIES: '7' })).toEqual([])
  })
})

describe('the start is refused', () => {
  it.each<[string, Env, RegExp]>([
    ['without a bucket', { STORAGE_BACKEND: 's3' }, /^S3_BUCKET must be set/],
    ['with half of the credentials', { ...S3, S3_ACCESS_KEY_ID: 'id' }, /must be set together$/],
    ['with the other half', { ...S3, S3_SECRET_ACCESS_KEY: 'secret' }, /must be set together$/],
    [
      'with a KMS key and no KMS',
      { ...S3, S3_SSE: 'AES256', S3_SSE_KMS_KEY_ID: 'k' },
      /^S3_SSE must be aws:kms/,
    ],
    [
      'with chunks that no buffer holds',
      { ...S3, S3_PART_BUFFER_BYTES: '8388608', CHUNK_SIZE_BYTES: '8388609' },
      /^CHUNK_SIZE_BYTES must be at most/,
    ],
    [
      'with files that would need such chunks',
      { ...S3, S3_PART_BUFFER_BYTES: '8388608', MAX_UPLOAD_BYTES: '83886080001' },
      /^MAX_UPLOAD_BYTES must be at most 10000 times/,
    ],
    ['with encryption that R2 does not know', { ...R2, S3_SSE: 'AES256' }, /^S3_SSE must not be set/],
    ['with a redirect to the disk', { DOWNLOAD_REDIRECT: 'presigned' }, /^DOWNLOAD_REDIRECT must be off/],
  ])('%s', (_what, env, words) => {
    expect(complaints(env)).toEqual([expect.stringMatching(words)])
  })

  it('of R2 with a line for each that is missing', () => {
    const named = complaints({ STORAGE_BACKEND: 'r2' }).map((line) => line.split(' ')[0])
    expect(named).toEqual(['R2_BUCKET', 'R2_ACCESS_KEY_ID', 'R2_SECRET_ACCESS_KEY', 'R2_ACCOUNT_ID'])
  })

  it('without a word of a secret', () => {
    const told = complaints({ ...R2, R2_BUCKET: '', S3_SSE: 'AES256' }).join()
    expect(told).not.toMatch(/secret/)
  })
})

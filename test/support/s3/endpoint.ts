import { randomUUID } from 'node:crypto'
import { S3, type S3ClientConfig } from '@aws-sdk/client-s3'
import { onTestFinished } from 'vitest'
import { startS3, type S3Emulator } from './server.ts'
import type { Credentials } from './signature.ts'

/** What stands behind an endpoint. `s3` is anything that claims to behave as Amazon does. */
export type Engine = 'emulator' | 'emulated-r2' | 'radosgw' | 'aws' | 'r2' | 's3'

interface Place {
  engine: Engine
  /** null is the SDK's own, which is Amazon's */
  url: string | null
  region: string
  bucket: string
  /** null are those that the SDK finds by itself */
  credentials: Credentials | null
  /** for aws:kms; null where there is none to test with */
  kmsKeyId: string | null
}

/** An S3 bucket to test with, whatever is behind it. */
export interface S3Endpoint extends Place {
  /** where this test's keys go; nothing else does, and all of it is removed in the end */
  prefix: string
  /** for the SDK, without a bucket */
  clientConfig: S3ClientConfig
  /** straight at the bucket, to arrange and to look */
  client: S3
  /** only when the engine is the emulator */
  emulator: S3Emulator | null
  /** the objects under `prefix`, and under `rest` behind it; by requests to S3 */
  objects(rest?: string): Promise<{ key: string; size: number; etag: string }[]>
  /** the multipart uploads in progress, likewise */
  uploads(rest?: string): Promise<{ key: string; uploadId: string }[]>
  close(): Promise<void>
}

type Env = Record<string, string | undefined>

/** What the environment asks the S3 tests to run against; null is the emulator. */
export function externalPlace(env: Env): Place | null {
  const places = [endpointPlace(env), awsPlace(env), r2Place(env)].filter((place) => place !== null)
  if (places.length > 1)
    throw new Error('S3_TEST_ENDPOINT, RUN_AWS_INTEGRATION, RUN_R2_INTEGRATION: one of them')
  return places[0] ?? null
}

function endpointPlace(env: Env): Place | null {
  const url = env['S3_TEST_ENDPOINT']
  if (!url) return null
  const engine = env['S3_TEST_ENGINE'] ?? 's3'
  if (engine !== 's3' && engine !== 'radosgw' && engine !== 'r2')
    throw new Error(`S3_TEST_ENGINE is s3, radosgw or r2, not ${engine}`)
  return {
    engine,
    url,
    region: env['S3_TEST_REGION'] ?? 'us-east-1',
    bucket: env['S3_TEST_BUCKET'] ?? 'upload-server-test',
    credentials: {
      accessKeyId: needed(env, 'S3_TEST_ACCESS_KEY_ID'),
      secretAccessKey: needed(env, 'S3_TEST_SECRET_ACCESS_KEY'),
    },
    kmsKeyId: env['S3_TEST_KMS_KEY_ID'] ?? null,
  }
}

function awsPlace(env: Env): Place | null {
  if (env['RUN_AWS_INTEGRATION'] !== '1') return null
  return {
    engine: 'aws',
    url: null,
    region: needed(env, 'AWS_REGION'),
    bucket: needed(env, 'AWS_TEST_S3_BUCKET'),
    credentials: null,
    kmsKeyId: env['AWS_TEST_KMS_KEY_ID'] ?? null,
  }
}

function r2Place(env: Env): Place | null {
  if (env['RUN_R2_INTEGRATION'] !== '1') return null
  return {
    engine: 'r2',
    url: `https://${needed(env, 'R2_ACCOUNT_ID')}.r2.cloudflarestorage.com`,
    region: 'auto',
    bucket: needed(env, 'R2_TEST_BUCKET'),
    credentials: {
      accessKeyId: needed(env, 'R2_ACCESS_KEY_ID'),
      secretAccessKey: needed(env, 'R2_SECRET_ACCESS_KEY'),
    },
    kmsKeyId: null,
  }
}

function needed(env: Env, name: string): string {
  const value = env[name]
  if (!value) throw new Error(`${name} has to be set`)
  return value
}

export interface Wanted {
  /** R2's limits: the emulator's, unless the environment names R2 itself; false by default */
  r2?: boolean
}

/** The place that openS3 goes to; null is the emulator. */
function externalFor({ r2 = false }: Wanted): Place | null {
  const place = externalPlace(process.env)
  return place !== null && r2 && place.engine !== 'r2' ? null : place
}

/** What openS3 would open, before it does. */
export const engineFor = (wanted: Wanted = {}): Engine =>
  externalFor(wanted)?.engine ?? (wanted.r2 ? 'emulated-r2' : 'emulator')

/** A bucket of what the environment names, or else of an emulator of its own. */
export async function openS3(wanted: Wanted = {}): Promise<S3Endpoint> {
  const external = externalFor(wanted)
  if (external) return await endpointAt(external, null)
  const emulator = await startS3({ r2: wanted.r2 ?? false })
  const { url, region, bucket, credentials } = emulator
  const kmsKeyId = wanted.r2 ? null : 'test-key'
  return await endpointAt({ engine: engineFor(wanted), url, region, bucket, credentials, kmsKeyId }, emulator)
}

/** Like openS3, closed at the end of the running test. */
export async function useS3(wanted: Wanted = {}): Promise<S3Endpoint> {
  const s3 = await openS3(wanted)
  onTestFinished(() => s3.close())
  return s3
}

async function endpointAt(place: Place, emulator: S3Emulator | null): Promise<S3Endpoint> {
  const { url, region, bucket, credentials } = place
  const clientConfig: S3ClientConfig = {
    region,
    ...(url === null ? {} : { endpoint: url, forcePathStyle: true }),
    ...(credentials === null ? {} : { credentials }),
    // Not every engine knows the checksums that the SDK would add.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  }
  const client = new S3(clientConfig)
  if (!emulator) await ensureBucket(client, place)
  emulator?.reset()
  const prefix = `test-${randomUUID()}/`

  const s3: S3Endpoint = {
    ...place,
    prefix,
    clientConfig,
    client,
    emulator,
    async objects(rest = '') {
      const found: Awaited<ReturnType<S3Endpoint['objects']>> = []
      let token: string | undefined
      do {
        const page = await client.listObjectsV2({
          Bucket: bucket,
          Prefix: prefix + rest,
          ...(token === undefined ? {} : { ContinuationToken: token }),
        })
        for (const { Key = '', Size = 0, ETag = '' } of page.Contents ?? [])
          found.push({ key: Key, size: Size, etag: ETag })
        token = page.NextContinuationToken
      } while (token !== undefined)
      return found
    },
    async uploads(rest = '') {
      const page = await client.listMultipartUploads({ Bucket: bucket, Prefix: prefix + rest })
      return (page.Uploads ?? []).map(({ Key = '', UploadId = '' }) => ({ key: Key, uploadId: UploadId }))
    },
    async close() {
      if (!emulator) await removeAll(s3)
      client.destroy()
      await emulator?.close()
    },
  }
  return s3
}

async function ensureBucket(client: S3, { engine, bucket }: Place): Promise<void> {
  try {
    await client.headBucket({ Bucket: bucket })
  } catch (error) {
    // Where a bucket costs money it is there before, or the name is wrong.
    const missing = (error as { name?: string }).name === 'NotFound'
    if (!missing || engine === 'aws' || engine === 'r2') throw error
    await client.createBucket({ Bucket: bucket })
  }
}

async function removeAll({ client, bucket, objects, uploads }: S3Endpoint): Promise<void> {
  for (const { key, uploadId } of await uploads())
    await client.abortMultipartUpload({ Bucket: bucket, Key: key, UploadId: uploadId }).catch(() => {})
  for (const { key } of await objects()) await client.deleteObject({ Bucket: bucket, Key: key })
}

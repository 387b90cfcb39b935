import { createHash, randomUUID } from 'node:crypto'
import { Readable } from 'node:stream'
import { S3 } from '@aws-sdk/client-s3'
import type { GetObjectCommandOutput, S3ClientConfig, S3ServiceException } from '@aws-sdk/client-s3'
import { bytesOf, MIB } from '../support/bytes.ts'
import type { S3Endpoint } from '../support/s3/endpoint.ts'
import type { Differences } from './s3-differences.ts'

export interface Fixture {
  s3: S3Endpoint
  differences: Differences
}

export type Current = () => Fixture

/** Three parts, the last of them small. Few tests need more. */
export const PARTS = [bytesOf(5 * MIB, 11), bytesOf(5 * MIB, 12), bytesOf(MIB + 17, 13)] as const

export const [FIRST, SECOND, LAST] = PARTS

export const md5 = (bytes: Uint8Array, encoding: 'hex' | 'base64' = 'hex'): string =>
  createHash('md5').update(bytes).digest(encoding)

export const sha256Base64 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64')

/** An ETag as the document that answers a copy has it. */
export const inDocument = ({ differences }: Fixture, etag: string): string =>
  differences.copyEtagsQuoted ? `"${etag}"` : etag

/** A bucket and a key that no other test uses. */
export function newKey({ s3 }: Fixture, name = 'key'): { Bucket: string; Key: string } {
  return { Bucket: s3.bucket, Key: `${s3.prefix}${randomUUID()}/${name}` }
}

/** A client with another configuration than that of the fixture. */
export const clientOf = ({ s3 }: Fixture, config: S3ClientConfig = {}): S3 =>
  new S3({ ...s3.clientConfig, maxAttempts: 1, ...config })

/** A client that adds a CRC32 to what it sends, as the SDK does by default. */
export const checksumming = (fixture: Fixture): S3 =>
  clientOf(fixture, {
    requestChecksumCalculation: 'WHEN_SUPPORTED',
    responseChecksumValidation: 'WHEN_SUPPORTED',
  })

interface Sent {
  method: string
  headers: Record<string, string>
  body: unknown
}

/** A client whose requests are changed after they were signed. */
export function tampering(client: S3, change: (request: Sent) => void): S3 {
  client.middlewareStack.add(
    (next) => async (args) => {
      change(args.request as Sent)
      return await next(args)
    },
    { step: 'finalizeRequest', priority: 'low', name: 'tamper' },
  )
  return client
}

export const bytesIn = async ({ Body }: Pick<GetObjectCommandOutput, 'Body'>): Promise<Buffer> =>
  Buffer.from((await Body?.transformToByteArray()) ?? [])

export const streamOf = (bytes: Buffer): Readable =>
  Readable.from(
    Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, i) =>
      bytes.subarray(i * 65_536, (i + 1) * 65_536),
    ),
  )

/** The code and status with which S3 refuses. */
export async function refusalOf(promise: Promise<unknown>): Promise<{ code: string; status: number }> {
  try {
    await promise
  } catch (error) {
    const { name, $metadata } = error as S3ServiceException
    if ($metadata?.httpStatusCode === undefined) throw error
    return { code: name, status: $metadata.httpStatusCode }
  }
  throw new Error('it was not refused')
}

export type Target = ReturnType<typeof newKey> & { UploadId: string }

export async function newUpload(
  fixture: Fixture,
  fields: Partial<Parameters<S3['createMultipartUpload']>[0]> = {},
): Promise<Target> {
  const key = newKey(fixture)
  const { UploadId = '' } = await fixture.s3.client.createMultipartUpload({ ...key, ...fields })
  return { ...key, UploadId }
}

export interface NamedPart {
  PartNumber: number
  ETag: string
}

/** Uploads parts side by side, numbered from 1. */
export const putParts = async ({ s3 }: Fixture, target: Target, bodies: readonly Uint8Array[]) =>
  await Promise.all(
    bodies.map(async (Body, i): Promise<NamedPart> => {
      const { ETag = '' } = await s3.client.uploadPart({ ...target, PartNumber: i + 1, Body })
      return { PartNumber: i + 1, ETag }
    }),
  )

export const complete = async ({ s3 }: Fixture, target: Target, Parts: readonly NamedPart[]) =>
  await s3.client.completeMultipartUpload({ ...target, MultipartUpload: { Parts: [...Parts] } })

import type { S3, S3ClientConfig, ServerSideEncryption } from '@aws-sdk/client-s3'
import { S3Store } from '@tus/s3-store'
import { failureOf } from './errors.ts'

/** Which bucket, and how it is reached. */
export interface S3Place {
  bucket: string
  region: string
  /** null is Amazon's own for the region */
  endpoint: string | null
  /** null are those that the SDK finds by itself */
  credentials: { accessKeyId: string; secretAccessKey: string } | null
  forcePathStyle: boolean
  /** what every key of ours begins with */
  keyPrefix: string
  /** how objects are encrypted at rest; null is the bucket's default */
  encryption: { algorithm: ServerSideEncryption; keyId: string | null } | null
  /** of files; null is the bucket's default. Pieces that soon go again have no use for one. */
  storageClass: string | null
}

const CONNECT_TIMEOUT_MS = 5_000
/** A connection that is silent for so long is dead. */
const SILENCE_TIMEOUT_MS = 30_000

/**
 * @tus/s3-store gives the client, S3's limits and the sizes of parts. Not its writing: that lists the
 * parts on every request, deletes a staged tail before its successor is there, takes the parts that
 * exist for a prefix of the file, and sends streams, which can't be tried again.
 */
class Base extends S3Store {
  get s3(): S3 {
    return this.client
  }

  partBytesFor(fileBytes: number): number {
    return this.calcOptimalPartSize(fileBytes)
  }
}

export interface S3Client {
  s3: S3
  bucket: string
  /** the least of every part but the last */
  minPartBytes: number
  /** the size of the parts that a file of so many bytes is packed into */
  partBytesFor(fileBytes: number): number
}

/**
 * @param packedPartBytes the size of a packed part, unless the file needs larger ones or S3 does
 * @param outgoing headers of every request. They are not signed: whoever hands on a trace may change them.
 */
export function createClient(
  { bucket, region, endpoint, credentials, forcePathStyle }: S3Place,
  packedPartBytes: number,
  outgoing?: () => Record<string, string>,
): S3Client {
  const agent = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY }
  const config: S3ClientConfig = {
    region,
    forcePathStyle,
    ...(endpoint !== null && { endpoint }),
    ...(credentials && { credentials }),
    // Its warnings are about what is handled here, and would go to the console.
    logger: { debug() {}, info() {}, warn() {}, error() {} },
    // How often something is tried is decided here, where it is counted and the turn is given back.
    maxAttempts: 1,
    // S3 checks the SHA-256 that every body is signed with; not every engine knows more than that.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // With it the SDK opens a connection for each part.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: SILENCE_TIMEOUT_MS,
      // Writes are bounded by the workers, reads by the clients.
      httpAgent: agent,
      httpsAgent: agent,
    },
  }
  const base = new Base({ partSize: packedPartBytes, s3ClientConfig: { ...config, bucket } })
  const { s3 } = base
  s3.middlewareStack.add(
    (next) => async (args) => {
      try {
        return await next(args)
      } catch (error) {
        throw failureOf(error)
      }
    },
    { step: 'initialize', priority: 'high', name: 'plainFailures' },
  )
  if (outgoing)
    s3.middlewareStack.add(
      (next) => (args) => {
        const { headers } = args.request as { headers: Record<string, string> }
        Object.assign(headers, outgoing())
        return next(args)
      },
      // Behind the signature, which is made in the step before.
      { step: 'deserialize', priority: 'low', name: 'outgoingHeaders' },
    )
  return {
    s3,
    bucket,
    minPartBytes: base.minPartSize,
    partBytesFor: (fileBytes) => base.partBytesFor(fileBytes),
  }
}

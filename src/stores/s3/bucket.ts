import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
  type ListMultipartUploadsCommandInput,
  type StorageClass,
} from '@aws-sdk/client-s3'
import { addAbortSignal, Readable } from 'node:stream'
import type { Meter } from '../../core/ports/meter.ts'
import type { ByteRange } from '../../core/range.ts'
import type { S3Client, S3Place } from './client.ts'
import type { Effort, Retry } from './retry.ts'

/** Bytes in pieces, with their SHA-256, hex: S3 refuses them when they are others on arrival. */
export interface Payload {
  pieces: readonly Uint8Array[]
  bytes: number
  sha256: string
}

/** A part of a multipart upload. */
export interface Part {
  number: number
  etag: string
}

export interface ListedPart extends Part {
  bytes: number
}

/** The object must not be there; or must be the one with this ETag. */
export type Condition = { absent: true } | { etag: string }

type Sender = Pick<S3Client, 's3' | 'bucket'>
export type Attributes = Pick<S3Place, 'encryption' | 'storageClass'>

/**
 * What this store asks of S3. Requests are tried again, but for those that say otherwise; what is
 * thrown in the end is the SDK's.
 */
export type Bucket = ReturnType<typeof createBucket>

export function createBucket(
  { s3, bucket: Bucket }: Sender,
  { encryption, storageClass }: Attributes,
  retry: Retry,
  meter: Pick<Meter, 'storePut'>,
) {
  const encrypted = encryption && {
    ServerSideEncryption: encryption.algorithm,
    ...(encryption.keyId !== null && { SSEKMSKeyId: encryption.keyId }),
  }
  const ofFile = {
    ...encrypted,
    ...(storageClass !== null && { StorageClass: storageClass as StorageClass }),
  }
  const timed = async <T>(put: () => Promise<T>): Promise<T> => {
    const started = performance.now()
    const result = await put()
    meter.storePut((performance.now() - started) / 1000)
    return result
  }
  const put = (
    fields: Partial<ConstructorParameters<typeof PutObjectCommand>[0]>,
    Key: string,
    payload: Payload,
    effort?: Effort,
  ): Promise<string> =>
    retry.run(
      'PutObject',
      () =>
        timed(async () => {
          const command = new PutObjectCommand({ Bucket, Key, ...bodyOf(payload), ...fields })
          return etagOf(await s3.send(signedWith(command, payload.sha256)))
        }),
      effort,
    )

  return {
    /** Makes the object of a file. @returns its ETag */
    putFile(key: string, payload: Payload, condition: Condition | null, effort?: Effort): Promise<string> {
      const fields = condition === null ? {} : conditionOf(condition)
      return put({ ...ofFile, ...fields }, key, payload, effort)
    },

    /** Makes an object that is going to go again. */
    async putPiece(key: string, payload: Payload, effort?: Effort): Promise<void> {
      await put({ ...encrypted }, key, payload, effort)
    },

    /** @returns the id of a new multipart upload */
    async createUpload(key: string, effort?: Effort): Promise<string> {
      const create = () => s3.send(new CreateMultipartUploadCommand({ Bucket, Key: key, ...ofFile }))
      const { UploadId } = await retry.run('CreateMultipartUpload', create, effort)
      return told(UploadId, 'id of a multipart upload')
    },

    /** @returns the part's ETag */
    uploadPart(
      key: string,
      uploadId: string,
      number: number,
      payload: Payload,
      effort?: Effort,
    ): Promise<string> {
      const upload = () =>
        timed(async () => {
          const at = { Bucket, Key: key, UploadId: uploadId, PartNumber: number }
          const command = new UploadPartCommand({ ...at, ...bodyOf(payload) })
          return etagOf(await s3.send(signedWith(command, payload.sha256)))
        })
      return retry.run('UploadPart', upload, effort)
    },

    /** @param range null for the whole source @returns the part's ETag */
    copyPart(
      key: string,
      uploadId: string,
      number: number,
      source: string,
      range: ByteRange | null,
    ): Promise<string> {
      const copy = async () => {
        const command = new UploadPartCopyCommand({
          Bucket,
          Key: key,
          UploadId: uploadId,
          PartNumber: number,
          CopySource: `${Bucket}/${source.split('/').map(encodeURIComponent).join('/')}`,
          ...(range && { CopySourceRange: headerOf(range) }),
        })
        return etagOf((await s3.send(command)).CopyPartResult ?? {})
      }
      return retry.run('UploadPartCopy', copy)
    },

    /** @param parts ascending */
    async completeUpload(key: string, uploadId: string, parts: readonly Part[]): Promise<void> {
      const Parts = parts.map(({ number, etag }) => ({ PartNumber: number, ETag: etag }))
      const at = { Bucket, Key: key, UploadId: uploadId }
      await retry.run('CompleteMultipartUpload', () =>
        s3.send(new CompleteMultipartUploadCommand({ ...at, MultipartUpload: { Parts } })),
      )
    },

    async abortUpload(key: string, uploadId: string): Promise<void> {
      const at = { Bucket, Key: key, UploadId: uploadId }
      await retry.run('AbortMultipartUpload', () => s3.send(new AbortMultipartUploadCommand(at)))
    },

    async *listParts(key: string, uploadId: string): AsyncGenerator<ListedPart, void, undefined> {
      let marker: string | undefined
      do {
        const at = { Bucket, Key: key, UploadId: uploadId, ...(marker && { PartNumberMarker: marker }) }
        const page = await retry.run('ListParts', () => s3.send(new ListPartsCommand(at)))
        for (const part of page.Parts ?? [])
          yield { number: part.PartNumber ?? 0, etag: etagOf(part), bytes: part.Size ?? 0 }
        marker = page.IsTruncated ? page.NextPartNumberMarker : undefined
      } while (marker)
    },

    /** @returns the ids of all multipart uploads of exactly this key */
    async listUploads(key: string): Promise<string[]> {
      const ids: string[] = []
      const at: ListMultipartUploadsCommandInput = { Bucket, Prefix: key }
      let more: boolean
      do {
        const list = () => s3.send(new ListMultipartUploadsCommand(at))
        const page = await retry.run('ListMultipartUploads', list)
        for (const { Key, UploadId } of page.Uploads ?? []) if (Key === key && UploadId) ids.push(UploadId)
        more = page.IsTruncated === true && page.NextKeyMarker !== undefined
        at.KeyMarker = page.NextKeyMarker
        at.UploadIdMarker = page.NextUploadIdMarker
      } while (more)
      return ids
    },

    /** @throws NotFound */
    async head(key: string): Promise<{ etag: string; bytes: number }> {
      const head = () => s3.send(new HeadObjectCommand({ Bucket, Key: key }))
      const answer = await retry.run('HeadObject', head)
      return { etag: etagOf(answer), bytes: answer.ContentLength ?? 0 }
    },

    /**
     * Opens a stream of the bytes. Asked once: it may break later all the same, and who reads then
     * knows how far that came.
     * @param etag what the object must be; null for any
     * @throws NoSuchKey, InvalidRange, and where the object ends before the range does
     */
    async get(
      key: string,
      range: ByteRange,
      etag: string | null,
      signal?: AbortSignal,
    ): Promise<{ body: Readable; etag: string }> {
      const command = { Bucket, Key: key, Range: headerOf(range), ...(etag !== null && { IfMatch: etag }) }
      const answer = await s3.send(new GetObjectCommand(command), signal ? { abortSignal: signal } : {})
      const body = answer.Body as Readable
      if (signal) addAbortSignal(signal, body)
      if (answer.ContentLength !== range.end - range.start) {
        body.destroy()
        throw new Error(`${key} has ${answer.ContentLength} bytes of ${headerOf(range)}`)
      }
      return { body, etag: etagOf(answer) }
    },

    /** Succeeds, too, when there is none. */
    async deleteObject(key: string): Promise<void> {
      await retry.run('DeleteObject', () => s3.send(new DeleteObjectCommand({ Bucket, Key: key })))
    },

    async *list(prefix: string): AsyncGenerator<string, void, undefined> {
      let token: string | undefined
      do {
        const at = { Bucket, Prefix: prefix, ...(token && { ContinuationToken: token }) }
        const page = await retry.run('ListObjectsV2', () => s3.send(new ListObjectsV2Command(at)))
        for (const { Key } of page.Contents ?? []) if (Key !== undefined) yield Key
        token = page.IsTruncated ? page.NextContinuationToken : undefined
      } while (token)
    },

    /** The cheapest question that a right to our own keys alone answers. Asked once. */
    async probe(prefix: string, signal: AbortSignal): Promise<void> {
      const command = new ListObjectsV2Command({ Bucket, Prefix: prefix, MaxKeys: 1 })
      await s3.send(command, { abortSignal: signal })
    },
  }
}

/** A stream can be sent once only: every try gets a new one. */
function bodyOf({ pieces, bytes }: Payload) {
  const [only] = pieces
  const Body = pieces.length === 1 && only ? only : Readable.from(pieces)
  return { Body, ContentLength: bytes }
}

/**
 * Signs the body by the hash that was made while it arrived: the SDK takes the header for what it
 * would have computed.
 */
function signedWith<C extends PutObjectCommand | UploadPartCommand>(command: C, sha256: string): C {
  const { middlewareStack } = command as unknown as Signable
  middlewareStack.add(
    (next) => (args) => {
      args.request.headers['x-amz-content-sha256'] = sha256
      return next(args)
    },
    { step: 'build', name: 'contentSha256' },
  )
  return command
}

type Send = (args: { request: { headers: Record<string, string> } }) => unknown

/** What commands of different types have in common here. */
interface Signable {
  middlewareStack: { add(middleware: (next: Send) => Send, options: { step: 'build'; name: string }): void }
}

const conditionOf = (condition: Condition) =>
  'etag' in condition ? { IfMatch: condition.etag } : { IfNoneMatch: '*' }

const headerOf = ({ start, end }: ByteRange): string => `bytes=${start}-${end - 1}`

const etagOf = ({ ETag }: { ETag?: string | undefined }): string => told(ETag, 'ETag')

function told(value: string | undefined, what: string): string {
  if (value) return value
  throw new Error(`S3 told no ${what}`)
}

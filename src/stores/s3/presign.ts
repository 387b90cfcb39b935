import { GetObjectCommand } from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import type { PresentedAs } from '../../core/ports/store.ts'
import type { S3Client } from './client.ts'

/** A URL that gives the object to whoever has it, for a while. No request. */
export const presignGet = (
  { s3, bucket }: Pick<S3Client, 's3' | 'bucket'>,
  key: string,
  { contentType, contentDisposition, cacheControl }: PresentedAs,
  expiresInSeconds: number,
): Promise<string> =>
  getSignedUrl(
    s3,
    new GetObjectCommand({
      Bucket: bucket,
      Key: key,
      ResponseContentType: contentType,
      ResponseContentDisposition: contentDisposition,
      ResponseCacheControl: cacheControl,
    }),
    { expiresIn: expiresInSeconds },
  )

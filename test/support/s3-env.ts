import type { S3Emulator } from './s3/server.ts'

/** The variables that put the bytes of a server into a bucket. */
export const s3Env = ({
  url,
  bucket,
  region,
  credentials,
}: Pick<S3Emulator, 'url' | 'bucket' | 'region' | 'credentials'>) => ({
  STORAGE_BACKEND: 's3',
  S3_ENDPOINT_URL: url,
  S3_BUCKET: bucket,
  AWS_REGION: region,
  S3_ACCESS_KEY_ID: credentials.accessKeyId,
  S3_SECRET_ACCESS_KEY: credentials.secretAccessKey,
  S3_FORCE_PATH_STYLE: 'true',
})

import { onTestFinished } from 'vitest'
import type { S3Emulator } from './s3/server.ts'
import { startS3 } from './s3/server.ts'
import { startTestServer, type TestServer } from './server.ts'

/** The variables that put the bytes of a server into a bucket of the emulator, or of a proxy before it. */
export const s3Env = (s3: Pick<S3Emulator, 'url' | 'bucket' | 'region' | 'credentials'>) => ({
  STORAGE_BACKEND: 's3',
  S3_ENDPOINT_URL: s3.url,
  S3_BUCKET: s3.bucket,
  AWS_REGION: s3.region,
  S3_ACCESS_KEY_ID: s3.credentials.accessKeyId,
  S3_SECRET_ACCESS_KEY: s3.credentials.secretAccessKey,
  S3_FORCE_PATH_STYLE: 'true',
})

/** A server on an emulator of its own, both closed at the end of the running test. */
export async function useS3Server(
  env: Record<string, string> = {},
): Promise<{ server: TestServer; s3: S3Emulator }> {
  const s3 = await startS3()
  onTestFinished(() => s3.close())
  const server = await startTestServer({ ...s3Env(s3), ...env })
  onTestFinished(() => server.close())
  return { server, s3 }
}

import { onTestFinished } from 'vitest'
import { startFaultProxy, type FaultProxy } from './s3/fault-proxy.ts'
import { startS3, type S3Emulator, type S3Options } from './s3/server.ts'
import { s3Env } from './s3-env.ts'
import { startTestServer, type TestServer } from './server.ts'

export interface S3World {
  server: TestServer
  s3: S3Emulator
  /** between the two */
  proxy: FaultProxy
}

/** A server on an emulator of its own, with a proxy between them, closed at the end of the running test. */
export async function useS3Server(
  env: Record<string, string> = {},
  options: S3Options = {},
): Promise<S3World> {
  const s3 = await startS3(options)
  onTestFinished(() => s3.close())
  const proxy = await startFaultProxy(s3.url)
  onTestFinished(() => proxy.close())
  const server = await startTestServer({ ...s3Env({ ...s3, url: proxy.url }), ...env })
  onTestFinished(() => server.close())
  return { server, s3, proxy }
}
